//! Keys and values of the positions so far, and attention over them.

use crate::cpu::dispatched;
use crate::lanes;
use crate::matrix::Lanes;
use crate::reference::LANES;

/// The keys and values of one key-value head of one layer, in f32.
#[derive(Debug)]
pub struct HeadCache {
    head_size: usize,
    positions: usize,
    /// `[tile of 16 positions][dimension]`, so that a lane is a position.
    pub(crate) keys: Vec<Lanes<f32>>,
    /// `[position][dimension]`.
    pub(crate) values: Vec<f32>,
}

impl HeadCache {
    /// No positions yet. Memory is taken as they come, so that an answer pays for its own length only.
    pub const fn new(head_size: usize) -> Self {
        Self { head_size, positions: 0, keys: Vec::new(), values: Vec::new() }
    }

    /// Bytes that as many positions take; none when the number overflows.
    pub fn size_bytes(head_size: usize, positions: usize) -> Option<usize> {
        let keys = positions.checked_next_multiple_of(LANES)?;
        keys.checked_add(positions)?.checked_mul(head_size)?.checked_mul(size_of::<f32>())
    }

    /// Appends a position.
    ///
    /// # Panics
    /// When a length is not the head's size.
    pub fn push(&mut self, key: &[f32], value: &[f32]) {
        assert!(key.len() == self.head_size && value.len() == self.head_size, "a head of {}", self.head_size);
        let (tile, lane) = (self.positions / LANES, self.positions % LANES);
        self.keys.resize((tile + 1) * self.head_size, Lanes([0.0; LANES]));
        let keys = self.keys[tile * self.head_size..].iter_mut();
        keys.zip(key).for_each(|(lanes, key)| lanes.0[lane] = *key);
        self.values.extend_from_slice(value);
        self.positions += 1;
    }

    /// Positions so far.
    pub const fn positions(&self) -> usize {
        self.positions
    }

    /// Elements of a key and of a value.
    pub const fn head_size(&self) -> usize {
        self.head_size
    }
}

dispatched! {
    /// Attention of the query heads in `queries` (one after the other) over the first `positions` of `cache`;
    /// see [`attention`](crate::reference::attention).
    ///
    /// # Panics
    /// When `positions` is 0 or more than the cache holds, or a length is no multiple of the head's size.
    pub fn attend(queries: &[f32], cache: &HeadCache, positions: usize, out: &mut [f32]) =
        lanes::attention::attend;
}
