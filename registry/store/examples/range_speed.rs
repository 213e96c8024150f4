//! How fast ranges are read with their hashes, and received, against BLAKE3 alone; all on one thread.
//!
//! `cargo run --release -p assay-store --example range_speed -- [MIB [ROUNDS]]` (512 and 5 if not given)
//!
//! Ranges have 8 MiB, as a fetch asks for them. Reading is from the page cache to nowhere, and receiving from memory, in
//! portions of 128 KiB as a node has them, to the page cache. What writing the same bytes to a new file takes stands
//! beside it. Each is the median of the rounds.

use assay_manifest::ArtifactKind;
use assay_store::{BlobReader, Partial, Store};
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom, Write};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const RANGE_BYTES: u64 = 8 << 20;
const PORTION_BYTES: usize = 128 << 10;
/// What is measured, in the order of a round's times.
const NAMES: [&str; 4] = ["BLAKE3 alone", "reading ranges", "receiving ranges", "writing a file"];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mib: u64 = arguments.next().map_or(Ok(512), |mib| mib.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("file");
    write_noise(&path, mib)?;
    let store = Store::open(&dir.path().join("store"))?;
    let manifest = store.import(&path, ArtifactKind::Dataset, &mut |_| {})?;
    let blob = manifest.files()[0].blake3;
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..rounds {
        let sink = Store::open(&dir.path().join(format!("sink-{round}")))?;
        let (partial, copy) = (sink.partial(&blob, mib << 20)?, tempfile::tempfile_in(dir.path())?);
        let round = measure(&store.reader(&blob)?, &partial, copy)?;
        times.iter_mut().zip(round).for_each(|(times, time)| times.push(time));
    }
    for (name, mut times) in NAMES.into_iter().zip(times) {
        times.sort_by(f64::total_cmp);
        println!("{name:>16}: {:>6.0} MiB/s", mib as f64 / times[times.len() / 2]);
    }
    Ok(())
}

/// Seconds that each took for the whole blob.
fn measure(reader: &BlobReader, partial: &Arc<Partial>, mut copy: File) -> Result<[f64; 4]> {
    let (size, mut times, mut encoded) = (reader.size_bytes(), [0.0; 4], Vec::new());
    copy.set_len(size)?;
    for start in (0..size).step_by(RANGE_BYTES as usize) {
        let range = start..size.min(start + RANGE_BYTES);
        encoded.clear();
        encode(reader, &range, |chunk| encoded.extend_from_slice(chunk))?;
        let steps: [&mut dyn FnMut() -> Result<()>; 4] = [
            &mut || hash(&encoded),
            &mut || encode(reader, &range, |_| ()),
            &mut || receive(partial, &range, &encoded),
            &mut || write(&mut copy, &range, &encoded),
        ];
        for (time, step) in times.iter_mut().zip(steps) {
            let begun = Instant::now();
            step()?;
            *time += begun.elapsed().as_secs_f64();
        }
    }
    Ok(times)
}

fn hash(bytes: &[u8]) -> Result<()> {
    std::hint::black_box(blake3::hash(bytes));
    Ok(())
}

fn encode(reader: &BlobReader, range: &Range<u64>, mut pass: impl FnMut(&[u8])) -> Result<()> {
    let (mut encoding, mut spare) = (reader.encode(range.clone())?, Vec::new());
    while let Some(chunk) = encoding.next_chunk(spare)? {
        pass(&chunk);
        spare = chunk;
    }
    Ok(())
}

fn receive(partial: &Arc<Partial>, range: &Range<u64>, encoded: &[u8]) -> Result<()> {
    let portions = BufReader::with_capacity(PORTION_BYTES, encoded);
    partial.receive(range.clone(), portions, |_| ControlFlow::Continue(()))?;
    Ok(())
}

fn write(file: &mut File, range: &Range<u64>, bytes: &[u8]) -> Result<()> {
    file.seek(SeekFrom::Start(range.start))?;
    let length = usize::try_from(range.end - range.start)?;
    for portion in bytes[..length].chunks(PORTION_BYTES) {
        file.write_all(portion)?;
    }
    Ok(())
}

fn write_noise(path: &Path, mib: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut bytes = vec![0; 1 << 20];
    for _ in 0..mib {
        noise.fill(&mut bytes);
        file.write_all(&bytes)?;
    }
    Ok(())
}
