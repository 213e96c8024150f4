//! Transactions that were found invalid for good, remembered for some blocks.

use std::collections::{HashMap, VecDeque};

use assay_runtime::Hash;

/// The oldest entry makes room when there are as many as the pool holds transactions.
#[derive(Default)]
pub(super) struct Bans {
    until: HashMap<Hash, u32>,
    oldest_first: VecDeque<Hash>,
    entries_max: usize,
}

impl Bans {
    pub fn new(entries_max: usize) -> Self {
        Self { entries_max, ..Self::default() }
    }

    pub fn contains(&self, hash: &Hash) -> bool {
        self.until.contains_key(hash)
    }

    pub fn add(&mut self, hash: Hash, until: u32) {
        if self.until.insert(hash, until).is_some() {
            return;
        }
        self.oldest_first.push_back(hash);
        if self.oldest_first.len() > self.entries_max {
            self.drop_oldest();
        }
    }

    /// Forgets those whose time was up before `height`.
    pub fn expire(&mut self, height: u32) {
        while let Some(hash) = self.oldest_first.front()
            && self.until.get(hash).is_none_or(|until| *until < height)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(hash) = self.oldest_first.pop_front() {
            self.until.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_ends_after_its_height_and_the_oldest_makes_room() {
        let hash = Hash::repeat_byte;
        let mut bans = Bans::new(2);
        bans.add(hash(1), 10);
        bans.expire(10);
        assert!(bans.contains(&hash(1)));
        bans.expire(11);
        assert!(!bans.contains(&hash(1)));
        for byte in [2, 3, 4] {
            bans.add(hash(byte), 20);
        }
        assert!(!bans.contains(&hash(2)) && bans.contains(&hash(3)) && bans.contains(&hash(4)));
    }
}
