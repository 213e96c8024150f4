//! The whole node in a simulated world: several nodes in one thread, in virtual time, over a network in memory and disks
//! that are torn by the loss of power; whatever goes wrong, no rule is broken, and what has gone wrong is mended.
//!
//! `ASSAY_SIM_SEED` chooses the first seed (a number, or a commit's hash), `ASSAY_SIM_SEEDS` how many are run,
//! `ASSAY_SIM_SECONDS` for how long at most, and `ASSAY_SIM_BLOCKS` how many blocks each of them decides.
//! `docs/decisions/0031-simulation.md` says what is simulated and what is not.

#![forbid(unsafe_code)]

#[path = "../stores/disk.rs"]
#[allow(dead_code)] // the stores' tests use the other part
mod disk;
#[path = "../strategies/random.rs"]
#[allow(dead_code)] // the strategies use the other part
mod random;
#[path = "../strategies/model.rs"]
#[allow(dead_code)]
mod model;
#[path = "../strategies/bound.rs"]
mod bound;

mod queue;
mod log;
mod network;
mod power;
mod wal;
mod packet;
mod memo;
mod host;
mod engine;
mod sync;
mod setting;
mod node;
mod genesis;
mod traffic;
mod stake;
mod post;
mod office;
mod market;
mod faults;
mod mischief;
mod jobs;
mod checks;
mod world;
mod mishaps;
mod people;
mod campaign;

use campaign::{Plan, campaign, play};
use world::{Case, Until};

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[test]
fn no_rule_is_broken_whatever_goes_wrong() {
    let done = campaign(&Plan::from_environment());
    println!("{done}");
    assert!(done.seeds > 0, "something was run");
}

#[test]
fn a_seed_runs_the_same_every_time() {
    let Plan { first_seed: seed, blocks, .. } = Plan::from_environment();
    let [first, again, other] = [seed, seed, seed + 1].map(|seed| {
        let run = play(Case { seed, blocks, until: Until::Blocks });
        run.unwrap_or_else(|violation| panic!("{}\n{}", violation.log.join("\n"), violation.what))
    });
    let differs = first.log.iter().zip(&again.log).find(|(first, again)| first != again);
    assert_eq!(differs, None, "a line differs");
    assert_eq!(first.digest, again.digest);
    assert_ne!(first.digest, other.digest);
}
