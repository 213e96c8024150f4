//! Converts a model in the layout of transformers to GGUF:
//! `cargo run --release -p assay-lineage --example to_gguf -- DIR f32|f16|q8_0|q4_0 FILE`

use anyhow::{Context as _, Result, bail};
use assay_lineage::{GgufType, TransformersSource, gguf_from_transformers};
use std::fs;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, type_name, out] = arguments.as_slice() else { bail!("expected DIR f32|f16|q8_0|q4_0 FILE") };
    let gguf_type = GgufType::ALL.into_iter().find(|t| t.dtype().name().eq_ignore_ascii_case(type_name));
    let gguf_type = gguf_type.with_context(|| format!("no gguf type is called {type_name}"))?;

    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("reading {dir}"))? {
        let path = entry.with_context(|| format!("reading {dir}"))?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            files.push((name.to_owned(), bytes));
        }
    }
    let source =
        TransformersSource::from_files(files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())))?;
    let gguf = gguf_from_transformers(&source, gguf_type)?;
    fs::write(out, &gguf).with_context(|| format!("writing {out}"))?;
    println!("{out}: {} bytes", gguf.len());
    Ok(())
}
