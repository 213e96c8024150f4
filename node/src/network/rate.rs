//! How much a peer may send in a time: token buckets. No clock: every call is told the time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// Time between two times that a peer is blamed.
const BLAME_EVERY: Duration = Duration::from_secs(1);

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Messages a second.
    pub messages_per_s: u32,
    /// Bytes a second.
    pub bytes_per_s: u32,
    /// Seconds that may be saved up for a burst.
    pub burst_s: u32,
}

impl Allowance {
    /// Bytes that may come at once.
    pub const fn burst_bytes(self) -> u64 {
        // Both are small: no product of two u32 exceeds a u64.
        self.bytes_per_s as u64 * self.burst_s as u64
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of messages that are left.
    messages: u64,
    /// Thousandths of bytes that are left.
    bytes: u64,
    at: Instant,
    /// When the peer was last blamed.
    blamed_at: Option<Instant>,
}

/// Whether a message is within what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is.
    Within,
    /// It is not, and is dropped.
    Excess,
    /// It is not, and the peer is to be blamed: once a second.
    Flood,
}

/// Buckets of peers that are connected.
#[derive(Debug)]
pub struct Rates {
    allowance: Allowance,
    peers: HashMap<PeerId, Bucket>,
}

impl Rates {
    /// Full buckets for everybody.
    pub fn new(allowance: Allowance) -> Self {
        Self { allowance, peers: HashMap::new() }
    }

    /// Takes one message of `bytes` bytes out of a peer's bucket. Nothing is taken of what is too much.
    pub fn take(&mut self, peer: PeerId, bytes: usize, now: Instant) -> Taken {
        let Allowance { messages_per_s, bytes_per_s, burst_s } = self.allowance;
        let full = |per_s: u32| u64::from(per_s).saturating_mul(burst_s.into()).saturating_mul(1_000);
        let (full_messages, full_bytes) = (full(messages_per_s), full(bytes_per_s));
        let full = Bucket { messages: full_messages, bytes: full_bytes, at: now, blamed_at: None };
        let bucket = self.peers.entry(peer).or_insert(full);
        let elapsed_ms =
            u64::try_from(now.saturating_duration_since(bucket.at).as_millis()).unwrap_or(u64::MAX);
        let grown = |left: u64, per_s: u32, full: u64| {
            left.saturating_add(elapsed_ms.saturating_mul(per_s.into())).min(full)
        };
        bucket.messages = grown(bucket.messages, messages_per_s, full_messages);
        bucket.bytes = grown(bucket.bytes, bytes_per_s, full_bytes);
        bucket.at = now;
        let cost = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000);
        match (bucket.messages.checked_sub(1_000), bucket.bytes.checked_sub(cost)) {
            (Some(messages), Some(bytes)) => {
                (bucket.messages, bucket.bytes) = (messages, bytes);
                Taken::Within
            }
            _ if bucket.blamed_at.is_some_and(|at| now.saturating_duration_since(at) < BLAME_EVERY) => {
                Taken::Excess
            }
            _ => {
                bucket.blamed_at = Some(now);
                Taken::Flood
            }
        }
    }

    /// Forgets buckets that are full again by now, of peers that `stays` does not name.
    pub fn expire(&mut self, now: Instant, stays: impl Fn(&PeerId) -> bool) {
        let burst_s = u64::from(self.allowance.burst_s);
        self.peers.retain(|peer, bucket| {
            stays(peer) || now.saturating_duration_since(bucket.at).as_secs() < burst_s
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Allowance = Allowance { messages_per_s: 2, bytes_per_s: 100, burst_s: 2 };

    #[test]
    fn a_burst_is_allowed_then_the_rate() {
        let (mut rates, peer, start) = (Rates::new(SMALL), PeerId::random(), Instant::now());
        let taken =
            |rates: &mut Rates, now| (0..10).filter(|_| rates.take(peer, 1, now) == Taken::Within).count();
        assert_eq!(taken(&mut rates, start), 4);
        assert_eq!(taken(&mut rates, start + Duration::from_secs(1)), 2);
        assert_eq!(taken(&mut rates, start + Duration::from_secs(60)), 4);
        assert_eq!(rates.take(PeerId::random(), 1, start), Taken::Within);
    }

    #[test]
    fn bytes_count_as_well_and_what_is_refused_costs_nothing() {
        let (mut rates, peer, now) = (Rates::new(SMALL), PeerId::random(), Instant::now());
        assert_eq!(rates.take(peer, 201, now), Taken::Flood);
        assert_eq!(rates.take(peer, 200, now), Taken::Within);
        assert_eq!(rates.take(peer, 1, now), Taken::Excess);
        assert_eq!(rates.take(peer, usize::MAX, now), Taken::Excess);
        assert_eq!(rates.take(peer, usize::MAX, now + BLAME_EVERY), Taken::Flood);
    }

    #[test]
    fn reconnecting_does_not_fill_a_bucket_but_time_does() {
        let (mut rates, peer, start) = (Rates::new(SMALL), PeerId::random(), Instant::now());
        assert_eq!(rates.take(peer, 200, start), Taken::Within);
        rates.expire(start + Duration::from_secs(1), |_| false);
        assert_ne!(rates.take(peer, 200, start + Duration::from_secs(1)), Taken::Within);
        rates.expire(start + Duration::from_secs(9), |_| false);
        assert!(rates.peers.is_empty());
    }
}
