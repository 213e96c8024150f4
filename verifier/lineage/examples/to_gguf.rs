//! Converts a model in the layout of transformers to GGUF:
//! `cargo run --release -p assay-lineage --example to_gguf -- DIR f32|f16|q8_0|q4_0 FILE`

use assay_lineage::{GgufType, TransformersSource, gguf_from_transformers};
use std::error::Error;
use std::fs;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, type_name, out] = arguments.as_slice() else {
        return Err("expected DIR f32|f16|q8_0|q4_0 FILE".into());
    };
    let gguf_type = GgufType::ALL.into_iter().find(|t| t.dtype().name().eq_ignore_ascii_case(type_name));
    let gguf_type = gguf_type.ok_or_else(|| format!("no gguf type is called {type_name}"))?;

    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| format!("reading {dir}: {error}"))? {
        let path = entry?.path();
        let bytes = fs::read(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        files.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes));
    }
    let source =
        TransformersSource::from_files(files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())))?;
    let gguf = gguf_from_transformers(&source, gguf_type)?;
    fs::write(out, &gguf).map_err(|error| format!("writing {out}: {error}"))?;
    println!("{out}: {} bytes", gguf.len());
    Ok(())
}
