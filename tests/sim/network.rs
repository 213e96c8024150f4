//! The network between nodes: every message is lost, delayed, doubled or held up by a cut, as the dice say.
//!
//! Real nodes speak over connections that lose nothing while they stand. Here single messages are lost, which is worse.

use rand::Rng;
use rand::rngs::StdRng;

/// How the network behaves for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Messages of a thousand that are lost.
    pub lost_permille: u32,
    /// Messages of a thousand that arrive twice.
    pub doubled_permille: u32,
    /// The shortest and the longest way, in milliseconds.
    pub delay_ms: (u64, u64),
}

impl Weather {
    pub const CALM: Self = Self { lost_permille: 0, doubled_permille: 0, delay_ms: (5, 40) };
}

/// The links between all nodes.
pub struct Network {
    dice: StdRng,
    pub weather: Weather,
    /// The side of a cut on which each node is; those of one side hear one another.
    sides: Vec<usize>,
    /// What a node's messages take longer, in milliseconds.
    slow_ms: Vec<u64>,
    pub lost: u64,
    pub doubled: u64,
    pub cut_off: u64,
}

impl Network {
    pub fn new(dice: StdRng, nodes: usize) -> Self {
        Self {
            dice,
            weather: Weather::CALM,
            sides: vec![0; nodes],
            slow_ms: vec![0; nodes],
            lost: 0,
            doubled: 0,
            cut_off: 0,
        }
    }

    /// Cuts the network; heals it when all sides are one.
    pub fn cut(&mut self, sides: Vec<usize>) {
        self.sides = sides;
    }

    /// Makes the ways from and to a node longer.
    pub fn slow(&mut self, node: usize, by_ms: u64) {
        self.slow_ms[node] = by_ms;
    }

    /// Everything as on a good day.
    pub fn heal(&mut self) {
        self.weather = Weather::CALM;
        self.sides.fill(0);
        self.slow_ms.fill(0);
    }

    /// When copies of a message arrive, in milliseconds from now.
    pub fn deliveries(&mut self, from: usize, to: usize) -> Vec<u64> {
        let Weather { lost_permille, doubled_permille, delay_ms: (least, most) } = self.weather;
        // The dice fall alike whatever comes of them.
        let (fate, again) = (self.dice.gen_range(0..1_000), self.dice.gen_range(0..1_000));
        let slow = self.slow_ms[from] + self.slow_ms[to];
        let ways = [(); 2].map(|()| slow + self.dice.gen_range(least..=most));
        if self.sides[from] != self.sides[to] {
            self.cut_off += 1;
            return Vec::new();
        }
        if fate < lost_permille {
            self.lost += 1;
            return Vec::new();
        }
        let copies = if again < doubled_permille { 2 } else { 1 };
        self.doubled += copies as u64 - 1;
        ways[..copies].to_vec()
    }
}
