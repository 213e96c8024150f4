//! What was handed in at this node, and when others were last told of it. No clock: every call is told the time.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use assay_runtime::Hash;

use crate::network::behaviour::REMEMBERED_FOR;

/// Own transactions that are told again while they wait for a block: as many as the pool holds. The oldest makes room.
const OWN_MAX: usize = 8_192;
/// Of those, how many are told at a time.
const TOLD_AT_ONCE_MAX: usize = 64;
/// Between two times that one is told: others have forgotten by then that they have heard of it.
pub const TELL_EVERY: Duration = Duration::from_secs(35);

const _: () = assert!(TELL_EVERY.as_secs() > REMEMBERED_FOR.as_secs());

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: Hash,
    told: Option<Instant>,
}

/// Own transactions in the order in which they came.
#[derive(Debug, Default)]
pub struct Own {
    arrivals: u64,
    by_arrival: BTreeMap<u64, Entry>,
    places: HashMap<Hash, u64>,
}

impl Own {
    /// Takes one up, unless it is there.
    pub fn add(&mut self, hash: Hash) {
        if self.places.contains_key(&hash) {
            return;
        }
        self.by_arrival.insert(self.arrivals, Entry { hash, told: None });
        self.places.insert(hash, self.arrivals);
        self.arrivals = self.arrivals.saturating_add(1);
        while self.by_arrival.len() > OWN_MAX {
            if let Some((_, oldest)) = self.by_arrival.pop_first() {
                self.places.remove(&oldest.hash);
            }
        }
    }

    /// Those to be told now, the oldest first.
    pub fn due(&self, now: Instant) -> Vec<Hash> {
        let is_due =
            |entry: &&Entry| entry.told.is_none_or(|at| now.saturating_duration_since(at) >= TELL_EVERY);
        let due = self.by_arrival.values().filter(is_due);
        due.take(TOLD_AT_ONCE_MAX).map(|entry| entry.hash).collect()
    }

    /// Others were told of one.
    pub fn told(&mut self, hash: &Hash, now: Instant) {
        let place = self.places.get(hash);
        if let Some(entry) = place.and_then(|place| self.by_arrival.get_mut(place)) {
            entry.told = Some(now);
        }
    }

    /// One no longer waits for a block.
    pub fn forget(&mut self, hash: &Hash) {
        if let Some(place) = self.places.remove(hash) {
            self.by_arrival.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mempool;

    #[test]
    fn an_own_transaction_is_told_again_until_it_has_left_the_pool() {
        let (mut own, start, hash) = (Own::default(), Instant::now(), Hash::repeat_byte(1));
        own.add(hash);
        own.add(hash);
        assert_eq!(own.due(start), vec![hash]);
        own.told(&hash, start);
        own.add(hash);
        assert!(own.due(start + TELL_EVERY - Duration::from_secs(1)).is_empty());
        assert_eq!(own.due(start + TELL_EVERY), vec![hash]);
        own.forget(&hash);
        assert!(own.due(start + TELL_EVERY).is_empty() && own.places.is_empty());
    }

    #[test]
    fn as_many_as_the_pool_holds_are_told_in_portions() {
        let (mut own, now) = (Own::default(), Instant::now());
        assert_eq!(OWN_MAX, mempool::Config::default().transactions_max);
        for number in 0..OWN_MAX as u64 + 1 {
            own.add(Hash::from_low_u64_be(number));
        }
        assert_eq!((own.by_arrival.len(), own.places.len()), (OWN_MAX, OWN_MAX));
        let mut told = 0;
        loop {
            let due = own.due(now);
            if due.is_empty() {
                break;
            }
            assert_eq!((due.len(), due[0]), (TOLD_AT_ONCE_MAX, Hash::from_low_u64_be(told + 1)));
            due.iter().for_each(|hash| own.told(hash, now));
            told += due.len() as u64;
        }
        assert_eq!(told, OWN_MAX as u64);
    }
}
