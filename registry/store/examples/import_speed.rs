//! Measures how fast an import is, in GB/s.
//!
//! `cargo run --release -p assay-store --example import_speed -- [MIB]` writes a GGUF file of so many MiB
//! (1024 if not given) to a temporary directory and imports it, three times; the file is in the page cache.

use assay_manifest::ArtifactKind;
use assay_manifest::formats::{DType, gguf};
use assay_store::Store;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Instant;

const TENSOR_BYTES: u64 = 32 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mib: u64 = std::env::args().nth(1).map_or(Ok(1024), |argument| argument.parse())?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("model.gguf");

    let mut data = vec![0; usize::try_from(TENSOR_BYTES)?];
    blake3::Hasher::new().finalize_xof().fill(&mut data);
    let names: Vec<_> = (0..(mib << 20).div_ceil(TENSOR_BYTES)).map(|i| format!("blk.{i}.weight")).collect();
    let tensor = |name| gguf::TensorData { name, dtype: DType::I8, dims: &[TENSOR_BYTES], data: &data };
    let tensors: Vec<_> = names.iter().map(|name| tensor(name)).collect();
    let mut file = BufWriter::new(File::create(&path)?);
    gguf::write(&mut file, &gguf::Metadata::new(), &tensors)?;
    file.flush()?;

    for _ in 0..3 {
        let store_dir = tempfile::tempdir_in(dir.path())?;
        let store = Store::open(store_dir.path())?;
        let start = Instant::now();
        let manifest = store.import(&path, ArtifactKind::Model, &mut |_| {})?;
        let seconds = start.elapsed().as_secs_f64();
        let gigabytes = manifest.size_bytes() as f64 / 1e9;
        println!("import {gigabytes:.2} GB in {seconds:.2} s: {:.2} GB/s", gigabytes / seconds);
        let start = Instant::now();
        store.open_verified(&manifest.files()[0].blake3)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("verify {gigabytes:.2} GB in {seconds:.2} s: {:.2} GB/s", gigabytes / seconds);
    }
    Ok(())
}
