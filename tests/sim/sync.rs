//! Catching up: a node that hears of a higher block than it decides asks one node at a time for the blocks between.
//!
//! Malachite has a state machine for this as well, with real clocks inside, which is not simulated. What it guards is: each
//! block goes with its certificate through the engine, and who sent a wrong one is not asked again for a time.

use std::collections::{BTreeMap, BTreeSet};

use assay_node::consensus::bft::Chain;
use malachite_sync::RawDecidedValue;
use rand::Rng;
use rand::rngs::StdRng;

use crate::host::Blame;

/// Blocks that one request asks for, as the node's configuration says.
pub const BATCH: u64 = 16;
/// How long a request waits for its answer, in milliseconds.
pub const PATIENCE_MS: u64 = 3_000;

/// What a node knows of the others' heights, and what it has asked them.
#[derive(Default)]
pub struct Sync {
    tips: BTreeMap<usize, u64>,
    asked: Option<Request>,
    requests: u64,
    /// Decided blocks that wait for their turn, with who sent them.
    ready: BTreeMap<u64, (usize, RawDecidedValue<Chain>)>,
    blamed: BTreeSet<usize>,
    /// What was taken last: its height, and who sent it.
    taken: Option<(u64, usize)>,
}

/// A request for blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub number: u64,
    pub peer: usize,
    pub from: u64,
    pub count: u64,
}

impl Sync {
    /// How far a node says that it is; with that it may be asked again.
    pub fn hear(&mut self, peer: usize, tip: u64) {
        self.tips.insert(peer, tip);
        self.blamed.remove(&peer);
    }

    /// The decided block of a height, if it is here.
    pub fn take(&mut self, height: u64) -> Option<(usize, RawDecidedValue<Chain>)> {
        self.ready.retain(|at, _| *at >= height);
        let found = self.ready.remove(&height)?;
        self.taken = Some((height, found.0));
        Some(found)
    }

    /// Whom to ask now, if anybody: of those who are ahead, one whom the dice choose.
    pub fn request(&mut self, height: u64, dice: &mut StdRng) -> Option<Request> {
        if self.asked.is_some() || !self.ready.is_empty() {
            return None;
        }
        let ahead = |(peer, tip): &(&usize, &u64)| **tip >= height && !self.blamed.contains(*peer);
        let choice: Vec<(usize, u64)> =
            self.tips.iter().filter(ahead).map(|(peer, tip)| (*peer, *tip)).collect();
        if choice.is_empty() {
            return None;
        }
        let (peer, tip) = choice[dice.gen_range(0..choice.len())];
        self.requests += 1;
        let request =
            Request { number: self.requests, peer, from: height, count: BATCH.min(tip - height + 1) };
        self.asked = Some(request);
        self.asked
    }

    /// An answer; what is not one to the present request is dropped.
    pub fn answer(&mut self, peer: usize, from: u64, values: Vec<RawDecidedValue<Chain>>) {
        let Some(asked) = self.asked.filter(|asked| (asked.peer, asked.from) == (peer, from)) else { return };
        self.asked = None;
        let right = |(at, value): (u64, &RawDecidedValue<Chain>)| value.certificate.height.0 == at;
        let count = values.len() as u64;
        if values.is_empty() || count > asked.count || !(from..).zip(&values).all(right) {
            self.blamed.insert(peer);
            return;
        }
        self.ready.extend((from..).zip(values).map(|(at, value)| (at, (peer, value))));
    }

    /// A request has waited long enough.
    pub fn give_up(&mut self, number: u64) {
        if let Some(asked) = self.asked.filter(|asked| asked.number == number) {
            self.asked = None;
            self.blamed.insert(asked.peer);
        }
    }

    /// What was taken for a height is refused: of who sent something wrong nothing is taken any more.
    pub fn refused(&mut self, height: u64, blame: Blame) {
        match self.taken.filter(|(at, _)| *at == height && blame == Blame::Sender) {
            Some((_, peer)) => {
                self.ready.retain(|_, (from, _)| *from != peer);
                self.blamed.insert(peer);
            }
            None => self.ready.clear(),
        }
    }
}
