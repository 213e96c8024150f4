//! Markets of scripted parties on a real chain: whatever coalitions do, no rule of the protocol breaks.
//!
//! `ASSAY_STRATEGY_SEED` chooses the first market, `ASSAY_STRATEGY_JOBS` how many jobs are played and
//! `ASSAY_STRATEGY_SECONDS` for how long at most; `ASSAY_STRATEGY_CASE` plays one written case.

#![forbid(unsafe_code)]
#![allow(dead_code)] // the report uses the other part of these modules

mod random;
mod case;
mod strategies;
mod generate;
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
mod shrink;
mod campaign;
mod economics;

use std::fs;
use std::path::Path;

use campaign::Plan;
use economics::{page, payoffs};

#[test]
fn no_coalition_breaks_a_rule() {
    let done = campaign::run(&Plan::from_environment());
    println!("{done}");
    assert!(done.jobs > 0, "something was played");
}

#[test]
fn the_page_of_profits_follows_from_the_shipped_parameters() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ECONOMICS.md");
    let page = fs::read_to_string(path).expect("docs/ECONOMICS.md");
    let made = page::replace(&page, page::EXACT, &page::exact()).expect("the markers of the table");
    assert_eq!(made, page, "make it again: cargo run -p assay-node --example economics -- 0");
}

#[test]
fn only_trust_among_friends_pays() {
    let terms =
        economics::terms::Terms::of(&economics::terms::Deal::CHAT, &assay_protocol::params::Params::MAIN);
    for entry in &payoffs::ENTRIES {
        for share in page::SHARES {
            let profit = page::profit(entry, &terms, share, 0.0);
            let pays = entry.name == payoffs::TRUST;
            assert!(pays || profit <= 0.0, "{} at {share}: {profit}", entry.name);
        }
    }
}
