//! Writes the vectors of `docs/VECTORS.md`, and where it is asked to the models that they are of:
//! `cargo run -p assay-engine --example vectors -- DIR [--models DIR]`.

use std::error::Error;
use std::fs;
use std::path::Path;

use made::functions::Reference;

#[path = "../tests/vectors/made/mod.rs"]
mod made;

const USAGE: &str = "usage: vectors DIR [--models DIR]";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (vectors, models) = match arguments.as_slice() {
        [vectors] if !vectors.starts_with("--") => (Path::new(*vectors), None),
        [vectors, "--models", models] => (Path::new(*vectors), Some(Path::new(*models))),
        _ => return Err(USAGE.into()),
    };
    fs::create_dir_all(vectors)?;
    for file in made::operations(&Reference).into_iter().chain(made::executions(&Reference)) {
        fs::write(vectors.join(&file.name), &file.text)?;
    }
    if let Some(models) = models {
        fs::create_dir_all(models)?;
        for (name, bytes) in made::models::models().into_iter().chain(made::encoders::encoders()) {
            fs::write(models.join(name), bytes)?;
        }
    }
    Ok(())
}
