//! What others say that they have, within bounds. No clock: every call is told the time.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::{ProviderRecord, RecordKey};

use super::contacts::ADDRESS_BYTES_MAX;

/// Artifacts that one peer may say it has.
const KEYS_PER_PEER_MAX: usize = 4_096;
/// What all peers may say together, a key and a peer each. When it is full, whoever says most makes room.
pub const CLAIMS_MAX: usize = 65_536;
/// Peers that may say something. The one that has said nothing for the longest time makes room.
const CLAIMANTS_MAX: usize = 4_096;
/// How long what was said counts; its owner says it again in a quarter of that.
pub const CLAIMED_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Bytes of a key: artifacts and blobs are named by hashes.
const KEY_BYTES: usize = 32;
/// Addresses of one peer that are kept with what it says.
const ADDRESSES_MAX: usize = 8;

const _: () = assert!(CLAIMANTS_MAX <= CLAIMS_MAX && KEYS_PER_PEER_MAX < CLAIMS_MAX);

#[derive(Debug)]
struct Claimant {
    spoke: Instant,
    keys: BTreeMap<Vec<u8>, Instant>,
}

/// What is to be forgotten: who said that it has what.
pub type Forgotten = Vec<(PeerId, RecordKey)>;

/// Who says that it has what.
#[derive(Debug, Default)]
pub struct Claims {
    by_peer: HashMap<PeerId, Claimant>,
    total: usize,
}

impl Claims {
    /// Takes a claim up, with the record cut to its bounds and what has to make room; nothing if it is refused.
    pub fn admit(&mut self, mut record: ProviderRecord, now: Instant) -> Option<(ProviderRecord, Forgotten)> {
        let (peer, key) = (record.provider, record.key.to_vec());
        if key.len() != KEY_BYTES {
            return None;
        }
        record.addresses.retain(|address| address.len() <= ADDRESS_BYTES_MAX);
        record.addresses.truncate(ADDRESSES_MAX);
        let said = self.by_peer.get(&peer).map_or(0, |claimant| claimant.keys.len());
        let is_known = self.by_peer.get(&peer).is_some_and(|claimant| claimant.keys.contains_key(&key));
        let mut forgotten = Forgotten::new();
        if !is_known {
            if said >= KEYS_PER_PEER_MAX {
                return None;
            }
            if said == 0 && self.by_peer.len() >= CLAIMANTS_MAX {
                forgotten.extend(self.forget_quietest());
            }
            if self.total >= CLAIMS_MAX {
                forgotten.push(self.shorten_longest(said)?);
            }
            self.total = self.total.saturating_add(1);
        }
        let claimant =
            self.by_peer.entry(peer).or_insert_with(|| Claimant { spoke: now, keys: BTreeMap::new() });
        claimant.spoke = now;
        claimant.keys.insert(key, now);
        Some((record, forgotten))
    }

    /// Forgets what was not said again.
    pub fn expire(&mut self, now: Instant) -> Forgotten {
        let mut forgotten = Forgotten::new();
        self.by_peer.retain(|peer, claimant| {
            claimant.keys.retain(|key, said| {
                let counts = now.saturating_duration_since(*said) < CLAIMED_FOR;
                if !counts {
                    forgotten.push((*peer, RecordKey::new(key)));
                }
                counts
            });
            !claimant.keys.is_empty()
        });
        self.total = self.total.saturating_sub(forgotten.len());
        forgotten
    }

    fn forget_quietest(&mut self) -> Forgotten {
        let quietest = self.by_peer.iter().min_by_key(|(_, claimant)| claimant.spoke).map(|(peer, _)| *peer);
        let Some((peer, claimant)) = quietest.and_then(|peer| self.by_peer.remove_entry(&peer)) else {
            return Forgotten::new();
        };
        self.total = self.total.saturating_sub(claimant.keys.len());
        claimant.keys.keys().map(|key| (peer, RecordKey::new(key))).collect()
    }

    /// Takes the oldest claim from whoever has most; nothing if that is no more than one who has said `said` would have.
    fn shorten_longest(&mut self, said: usize) -> Option<(PeerId, RecordKey)> {
        let (peer, claimant) = self.by_peer.iter_mut().max_by_key(|(_, claimant)| claimant.keys.len())?;
        if claimant.keys.len() <= said.saturating_add(1) {
            return None;
        }
        let oldest = claimant.keys.iter().min_by_key(|(_, said)| **said).map(|(key, _)| key.clone())?;
        claimant.keys.remove(&oldest);
        self.total = self.total.saturating_sub(1);
        Some((*peer, RecordKey::new(&oldest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: usize, peer: PeerId) -> ProviderRecord {
        let mut key = [0; KEY_BYTES];
        key[..8].copy_from_slice(&number.to_le_bytes());
        ProviderRecord::new(RecordKey::new(&key), peer, Vec::new())
    }

    #[test]
    fn a_peer_says_so_much_and_may_say_the_same_again() {
        let (mut claims, peer, now) = (Claims::default(), PeerId::random(), Instant::now());
        for number in 0..KEYS_PER_PEER_MAX {
            assert_eq!(claims.admit(record(number, peer), now).unwrap().1, vec![]);
        }
        let more = KEYS_PER_PEER_MAX;
        assert!(claims.admit(record(more, peer), now).is_none());
        assert!(claims.admit(record(more, PeerId::random()), now).is_some());
        let later = now + CLAIMED_FOR / 2;
        assert!(claims.admit(record(0, peer), later).is_some());
        // What was not said again is forgotten, and may be said anew.
        assert_eq!(claims.expire(now + CLAIMED_FOR).len(), KEYS_PER_PEER_MAX);
        assert_eq!(claims.total, 1);
        assert!(claims.admit(record(more, peer), later).is_some());
        claims.expire(later + CLAIMED_FOR);
        assert!(claims.by_peer.is_empty() && claims.total == 0);
    }

    #[test]
    fn a_key_that_is_no_hash_is_refused_and_addresses_are_cut() {
        let (mut claims, peer, now) = (Claims::default(), PeerId::random(), Instant::now());
        for length in [0, 31, 33, 16_000] {
            let named = ProviderRecord::new(RecordKey::new(&vec![1; length]), peer, Vec::new());
            assert!(claims.admit(named, now).is_none(), "{length}");
        }
        let mut many = record(1, peer);
        let long = format!("/dns4/{}/tcp/1", "x".repeat(300)).parse().unwrap();
        many.addresses = (1..100).map(|port| format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()).collect();
        many.addresses.insert(0, long);
        let (kept, _) = claims.admit(many, now).unwrap();
        assert_eq!(kept.addresses.len(), ADDRESSES_MAX);
        assert!(kept.addresses.iter().all(|address| address.len() <= ADDRESS_BYTES_MAX));
    }

    #[test]
    fn when_all_is_full_whoever_says_most_makes_room_for_whoever_says_less() {
        let (mut claims, now) = (Claims::default(), Instant::now());
        let greedy: Vec<_> = (0..CLAIMS_MAX / KEYS_PER_PEER_MAX).map(|_| PeerId::random()).collect();
        for peer in &greedy {
            for number in 0..KEYS_PER_PEER_MAX {
                claims.admit(record(number, *peer), now).unwrap();
            }
        }
        let modest = PeerId::random();
        for number in 0..100 {
            let (_, forgotten) = claims.admit(record(number, modest), now).unwrap();
            assert!(forgotten.len() == 1 && greedy.contains(&forgotten[0].0));
        }
        assert_eq!(claims.total, CLAIMS_MAX);
        assert!(claims.admit(record(KEYS_PER_PEER_MAX, greedy[0]), now).is_none());
    }

    #[test]
    fn the_quietest_of_too_many_peers_makes_room() {
        let (mut claims, now) = (Claims::default(), Instant::now());
        let peers: Vec<_> = (0..=CLAIMANTS_MAX).map(|_| PeerId::random()).collect();
        let at = |number: usize| now + Duration::from_secs(number as u64);
        for (number, peer) in peers.iter().enumerate().take(CLAIMANTS_MAX) {
            assert_eq!(claims.admit(record(1, *peer), at(number)).unwrap().1, vec![]);
        }
        let (_, forgotten) = claims.admit(record(1, peers[CLAIMANTS_MAX]), at(CLAIMANTS_MAX)).unwrap();
        assert_eq!(forgotten, vec![(peers[0], record(1, peers[0]).key)]);
        assert_eq!((claims.by_peer.len(), claims.total), (CLAIMANTS_MAX, CLAIMANTS_MAX));
    }
}
