//! Transactions of peers that the next blocks may make valid: a step may come sooner than the block that it follows.

use std::collections::VecDeque;

use crate::network::inbox::Gossip;

/// How many wait at the most.
const WAITING_MAX: usize = 256;
/// Bytes of those that wait: an eighth of what gossip may take, so that it has room for the rest.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Blocks on which one is tried. Longer the layer below does not keep a message that waits for its judgement.
pub const TRIES_MAX: u8 = 6;

/// A message that was handed to the pool.
#[derive(Debug)]
pub struct Tried {
    pub gossip: Gossip,
    /// The height on which it was judged, or the one before.
    pub height: u32,
    pub tries: u8,
}

/// What waits for the next block. The oldest makes room.
#[derive(Debug, Default)]
pub struct Early {
    waiting: VecDeque<Tried>,
    bytes: usize,
}

impl Early {
    /// Lets one wait; returns what has to make room for it.
    pub fn add(&mut self, tried: Tried) -> Vec<Tried> {
        self.bytes = self.bytes.saturating_add(tried.gossip.bytes.len());
        self.waiting.push_back(tried);
        let mut out = Vec::new();
        while self.waiting.len() > WAITING_MAX || self.bytes > WAITING_BYTES_MAX {
            out.extend(self.take());
        }
        out
    }

    /// The one that has waited longest.
    pub fn take(&mut self) -> Option<Tried> {
        let tried = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(tried.gossip.bytes.len());
        Some(tried)
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(number: u32, bytes: usize) -> Tried {
        Tried { gossip: Gossip::made_up(vec![0; bytes]), height: number, tries: 1 }
    }

    #[test]
    fn the_oldest_makes_room_by_count_and_by_bytes() {
        let mut early = Early::default();
        for number in 0..WAITING_MAX as u32 {
            assert!(early.add(tried(number, 9)).is_empty());
        }
        let out = early.add(tried(1_000, 9));
        assert_eq!(out.iter().map(|tried| tried.height).collect::<Vec<_>>(), vec![0]);
        let out = early.add(tried(1_001, WAITING_BYTES_MAX - 9));
        assert_eq!((out.len(), early.len()), (WAITING_MAX - 1, 2));
        assert_eq!(early.take().unwrap().height, 1_000);
        assert_eq!(early.take().unwrap().height, 1_001);
        assert!(early.take().is_none() && early.bytes == 0);
    }
}
