//! Writes the tables of `docs/ECONOMICS.md`.
//!
//! `cargo run -p assay-node --example economics -- [MARKETS]` plays each strategy in so many markets a share
//! of stake, 12 by default; with 0 only the exact table is written.

#![forbid(unsafe_code)]
#![allow(dead_code)] // the tests use the other part of these modules

mod random;
mod case;
mod strategies;
mod model;
mod mail;
mod chain;
mod lies;
mod world;
mod ask;
mod act;
mod deliver;
mod referee;
mod books;
mod bound;
mod checks;
mod economics;

use std::path::Path;
use std::{env, fs};

use economics::payoffs::ENTRIES;
use economics::sample::{PROVIDERS, sample};
use economics::{page, sample::Sample};

/// Markets a strategy and share when nothing else is asked for.
const MARKETS_DEFAULT: u64 = 12;

fn main() {
    let markets =
        env::args().nth(1).map_or(MARKETS_DEFAULT, |text| text.parse().expect("a number of markets"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ECONOMICS.md");
    let before = fs::read_to_string(&path).expect("the page");
    let mut after =
        page::replace(&before, page::EXACT, &page::exact()).expect("the markers of the exact table");
    if markets > 0 {
        after =
            page::replace(&after, page::PLAYED, &played(markets)).expect("the markers of the played table");
    }
    fs::write(&path, after).expect("writing the page");
}

fn played(markets: u64) -> String {
    let lab = model::Lab::new();
    let mut table = format!(
        "{PROVIDERS} providers of equal stake, {markets} markets of 24 jobs a cell; only what accounts hold, in F an act.\n\n\
         | strategy | f = 0.1: expected | played | acts | f = 0.2: expected | played | acts | f = 0.33: expected | played | \
         acts | honest loss |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    for entry in &ENTRIES {
        let members = page::SHARES.map(|share| (share * PROVIDERS as f64).round() as usize);
        let samples: Option<Vec<Sample>> =
            members.into_iter().map(|m| sample(&lab, entry, m, markets)).collect();
        let Some(samples) = samples else { continue };
        let row = page::played(entry.name, &samples);
        println!("{row}");
        table.push_str(&row);
        table.push('\n');
    }
    table
}
