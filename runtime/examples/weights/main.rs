//! Measures every call of ours in its worst state over redb, and writes `runtime/src/weights.rs`.
//!
//! `cargo run --release -p assay-runtime --example weights`
//!
//! The weight of a call is what one more of them adds to importing a block: its execution, its part of the
//! state root and of the durable write. It is the slope of a least-squares line over blocks that hold
//! different numbers of the call, so that a block's own cost is not in it. Time is that of the processor, so that
//! other programs on the machine do not count. Nor does a host that is slow for minutes: the same blocks are executed in
//! several runs, and each counts with what it took in the fastest. What a transaction takes whatever it calls, its
//! signature among it, is measured for itself.

#[path = "../../tests/flows/answers.rs"]
#[allow(dead_code)]
mod answers;
#[path = "../../tests/flows/books.rs"]
#[allow(dead_code)]
mod books;
#[path = "../../tests/flows/market.rs"]
#[allow(dead_code)]
mod market;
#[path = "../../tests/support/mod.rs"]
mod support;

mod accounts;
mod delivery;
mod jobs;
mod providers;
mod registrations;
mod render;
mod samples;
mod store;
mod town;
mod validators;

use samples::Samples;
use town::Town;

/// So often everything is measured.
const RUNS: usize = 3;

fn main() -> std::io::Result<()> {
    let mut samples = measure()?;
    for _ in 1..RUNS {
        samples.keep_least(&measure()?);
    }
    samples.print();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/weights.rs");
    std::fs::write(path, render::render(&samples))?;
    eprintln!("written: {path}");
    Ok(())
}

fn measure() -> std::io::Result<Samples> {
    let dir = tempfile::tempdir()?;
    let mut samples = Samples::default();
    eprintln!("building a chain with {} accounts and {} providers", town::ACCOUNTS, town::PROVIDERS);
    let mut town = Town::build(dir.path(), &mut samples);
    for _ in 0..16 {
        town.pass("empty", 0, &mut samples);
    }
    accounts::measure(&mut town, &mut samples);
    registrations::measure(&mut town, &mut samples);
    jobs::measure(&mut town, &mut samples);
    delivery::measure(&mut town, &mut samples);
    providers::measure(&mut town, &mut samples);
    validators::measure(&mut town, &mut samples);
    Ok(samples)
}
