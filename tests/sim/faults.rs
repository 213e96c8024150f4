//! What goes wrong, and when: drawn from the seed alone, whatever the nodes do.

use std::fmt;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::mischief::Departures;
use crate::network::Weather;

/// From one fault to the next, in milliseconds.
const GAP_MS: std::ops::Range<u64> = 1_000..12_000;
/// How long one lasts, in milliseconds.
const LASTS_MS: std::ops::Range<u64> = 500..15_000;
/// How long a machine is dark that something starts again at once, in milliseconds: it comes back to a height that is not
/// decided, and must remember what it has said.
const SHORT_MS: std::ops::Range<u64> = 10..400;
/// Writes until a power goes that goes at a write: some blocks' worth.
const WRITES: std::ops::Range<u64> = 0..60;
/// Writes of a node that starts until its power goes again: while it repairs its stores.
const WRITES_OF_START: std::ops::Range<u64> = 0..8;

/// Something that goes wrong for a time.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nodes of different sides do not hear one another.
    Cut(Vec<usize>),
    /// Messages are lost, doubled and late.
    Weather(Weather),
    /// The ways from and to a node are longer by so many milliseconds.
    Slow(usize, u64),
    /// A node's power goes at once.
    Crash(usize),
    /// Every node's does.
    Blackout,
    /// A node's power goes at a write, so many from now; and maybe again, so many after its next start.
    CrashAtWrite { node: usize, writes: u64, again: Option<u64> },
}

/// A fault with its time.
#[derive(Clone, Debug)]
pub struct Planned {
    pub after_ms: u64,
    pub lasts_ms: u64,
    pub fault: Fault,
}

/// The faults of one run, one after the other.
pub struct Plan {
    dice: StdRng,
    nodes: usize,
}

impl Plan {
    pub const fn new(dice: StdRng, nodes: usize) -> Self {
        Self { dice, nodes }
    }

    pub fn next(&mut self) -> Planned {
        let (after_ms, mut lasts_ms) = (self.dice.gen_range(GAP_MS), self.dice.gen_range(LASTS_MS));
        let short_ms = self.dice.gen_bool(0.5).then(|| self.dice.gen_range(SHORT_MS));
        let node = self.dice.gen_range(0..self.nodes);
        let fault = match self.dice.gen_range(0..12) {
            0..=2 => Fault::Cut(self.sides()),
            3..=4 => Fault::Weather(self.weather()),
            5 => Fault::Slow(node, self.dice.gen_range(50..3_000)),
            6 => Fault::Crash(node),
            7 => Fault::Blackout,
            _ => Fault::CrashAtWrite {
                node,
                writes: self.dice.gen_range(WRITES),
                again: self.dice.gen_bool(0.3).then(|| self.dice.gen_range(WRITES_OF_START)),
            },
        };
        if let (Fault::Crash(_) | Fault::Blackout | Fault::CrashAtWrite { .. }, Some(short_ms)) =
            (&fault, short_ms)
        {
            lasts_ms = short_ms;
        }
        Planned { after_ms, lasts_ms, fault }
    }

    /// One node alone, or the nodes in two or three parts.
    fn sides(&mut self) -> Vec<usize> {
        let parts = *[1, 2, 2, 3].choose(&mut self.dice).expect("a choice");
        let mut sides: Vec<usize> = (0..self.nodes).map(|_| self.dice.gen_range(0..parts)).collect();
        if parts == 1 {
            let alone = self.dice.gen_range(0..self.nodes);
            sides[alone] = 1;
        }
        sides
    }

    fn weather(&mut self) -> Weather {
        let least = self.dice.gen_range(1..60);
        Weather {
            lost_permille: self.dice.gen_range(0..250),
            doubled_permille: self.dice.gen_range(0..150),
            delay_ms: (least, least + self.dice.gen_range(10..1_500)),
        }
    }
}

/// How many faults of each kind there were.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub cuts: u64,
    pub weathers: u64,
    pub slow: u64,
    pub crashes: u64,
    pub blackouts: u64,
    pub crashes_at_write: u64,
    pub messages_lost: u64,
    pub messages_doubled: u64,
    pub messages_cut_off: u64,
    pub departures: Departures,
    /// Validators that were convicted, and changes of who decides.
    pub convicted: u64,
    pub successions: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.weathers += other.weathers;
        self.slow += other.slow;
        self.crashes += other.crashes;
        self.blackouts += other.blackouts;
        self.crashes_at_write += other.crashes_at_write;
        self.messages_lost += other.messages_lost;
        self.messages_doubled += other.messages_doubled;
        self.messages_cut_off += other.messages_cut_off;
        self.departures.add(&other.departures);
        self.convicted += other.convicted;
        self.successions += other.successions;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cuts, weathers, slow, crashes, blackouts, crashes_at_write, .. } = self;
        let Self {
            messages_lost,
            messages_doubled,
            messages_cut_off,
            departures,
            convicted,
            successions,
            ..
        } = self;
        write!(
            f,
            "{cuts} cuts, {weathers} storms, {slow} slow nodes, {crashes} crashes, {crashes_at_write} at a write, {blackouts} blackouts; \
             messages: {messages_lost} lost, {messages_doubled} doubled, {messages_cut_off} cut off; by validators: {departures}; {convicted} convicted, {successions} changes of validators"
        )
    }
}
