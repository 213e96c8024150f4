//! A node is killed at random moments of registrations and jobs, again and again.
//!
//! After each kill the ledger is read whole offline (`assay chain check`); the node starts again, and sometimes is
//! killed while it does; everything whose inclusion the client saw is there; and the job in flight ends. Whenever a
//! job has been closed, all balances are what records, fees and charges say, to the
//! unit.
//!
//! Ordinary runs kill 25 times for each store. A thousand times in all:
//!
//! ```text
//! ASSAY_KILLS=500 cargo test -p assay-node --test flows -- --nocapture storm
//! ```
//!
//! `ASSAY_SEED` chooses other moments.

mod buyer;
mod registrar;

use std::time::Duration;

use assay_node::data_dir::LedgerStore;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use self::buyer::Buyer;
use self::registrar::Registrar;
use crate::process::{Setup, run};

const KILLS: u64 = 25;
const SEED: u64 = 1;
/// A node works for this long at most before it is killed: about half as long as a job takes.
const WORK_MAX: Duration = Duration::from_millis(1_500);
/// A start is cut off within this time: opening, reading the model, serving.
const START_MAX: Duration = Duration::from_millis(1_000);
/// Starts that are cut off before there is a chain.
const FIRST_STARTS: u32 = 3;
/// Of so many kills one is followed by another during the start.
const STARTS_PER_KILL: u32 = 5;

#[tokio::test]
async fn kills_at_any_moment_lose_nothing_and_pay_nothing_twice_with_redb() {
    Storm::begin(LedgerStore::Redb).await.rage().await;
}

#[tokio::test]
async fn kills_at_any_moment_lose_nothing_and_pay_nothing_twice_with_sled() {
    Storm::begin(LedgerStore::Sled).await.rage().await;
}

/// A number of the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

struct Storm {
    setup: Setup,
    dice: StdRng,
    registrar: Registrar,
    buyer: Buyer,
    /// The highest finalized height that a client was told of.
    told: u64,
    kills: u64,
    kills_at_start: u64,
    _dir: tempfile::TempDir,
}

impl Storm {
    async fn begin(store: LedgerStore) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let setup = Setup { store, ..Setup::in_dir(dir.path()) };
        let mut dice = StdRng::seed_from_u64(setting("ASSAY_SEED", SEED));
        for _ in 0..FIRST_STARTS {
            setup.start_and_kill(dice.gen_range(Duration::ZERO..START_MAX)).await;
        }
        let node = setup.start();
        let client = node.client().await;
        Self {
            setup,
            dice,
            registrar: Registrar::new(),
            buyer: Buyer::new(&client, node.model()).await,
            told: client.height().await.unwrap().into(),
            kills: 0,
            kills_at_start: FIRST_STARTS.into(),
            _dir: dir,
        }
    }

    async fn rage(mut self) {
        for _ in 0..setting("ASSAY_KILLS", KILLS) {
            self.work_until_killed().await;
            self.check_offline();
            if self.dice.gen_ratio(1, STARTS_PER_KILL) {
                self.setup.start_and_kill(self.dice.gen_range(Duration::ZERO..START_MAX)).await;
                self.kills_at_start += 1;
                self.check_offline();
            }
        }
        self.end().await;
    }

    /// Starts the node, checks what was acknowledged before, and works with it until it is killed.
    async fn work_until_killed(&mut self) {
        let moment = self.dice.gen_range(Duration::ZERO..WORK_MAX);
        let node = self.setup.start();
        let client = node.client().await;
        self.registrar.check_latest(&client).await;
        self.buyer.check_latest(&client).await;
        let heights = client.heights().await.unwrap();
        let told = &mut self.told;
        let work = async {
            tokio::join!(self.registrar.work(&client), self.buyer.work(&client), watch(heights, told))
        };
        assert!(tokio::time::timeout(moment, work).await.is_err(), "work has no end");
        drop(node);
        self.kills += 1;
    }

    /// The whole ledger is there, and reaches as far as anybody was told.
    fn check_offline(&self) {
        let base = self.setup.base.to_str().unwrap();
        let checked = run(&["chain", "check", "--json", "--base-path", base]);
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "after {} kills: {said}\n{}", self.kills, self.setup.log());
        let whole: Value = serde_json::from_slice(&checked.stdout).unwrap();
        assert_eq!(whole["store"], self.setup.store.name());
        assert!(whole["height"].as_u64().unwrap() >= self.told, "{whole} after {}", self.told);
    }

    /// Lets the job in flight end, and compares everything once more.
    async fn end(mut self) {
        let node = self.setup.start();
        let client = node.client().await;
        self.buyer.finish(&client).await;
        self.registrar.check_all(&client).await;
        let holds: Result<(), Vec<u8>> = client.runtime("LedgerApi_check_invariants", ()).await.unwrap();
        assert_eq!(holds, Ok(()));
        println!(
            "{}: {} kills at work and {} at start, {} registrations and {} jobs, height {}; all is there",
            self.setup.store.name(),
            self.kills,
            self.kills_at_start,
            self.registrar.count(),
            self.buyer.count(),
            client.height().await.unwrap(),
        );
    }
}

async fn watch(mut heights: assay_node::client::Heights, told: &mut u64) {
    loop {
        *told = heights.next().await.unwrap().into();
    }
}
