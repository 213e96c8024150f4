//! What peers have collected for their faults. No clock: every call is told the time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::fault::{Action, Fault};

/// Points at which a peer is disconnected and refused.
pub const LINE: u32 = 100;
/// Points that a second takes away: a single mild fault is forgotten in ten seconds, a grave one in a minute.
pub const DECAY_PER_S: u32 = 1;
/// How long a peer is refused: long enough that coming back for more faults does not pay.
pub const REFUSED_FOR: Duration = Duration::from_secs(600);
/// Peers that are remembered. The one with the fewest points makes room; refused ones last.
const PEERS_MAX: usize = 4_096;

/// What is to be done with a peer after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sentence {
    /// Nothing yet.
    None,
    /// Disconnect and refuse it.
    Refuse,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    points: u32,
    since: Instant,
    refused_until: Option<Instant>,
}

impl Standing {
    /// They do not decay while the peer is refused.
    fn points_at(&self, now: Instant) -> u32 {
        if self.is_refused(now) {
            return self.points;
        }
        let elapsed = u32::try_from(now.saturating_duration_since(self.since).as_secs()).unwrap_or(u32::MAX);
        self.points.saturating_sub(elapsed.saturating_mul(DECAY_PER_S))
    }

    fn is_refused(&self, now: Instant) -> bool {
        self.refused_until.is_some_and(|until| now < until)
    }
}

/// Points and refusals by peer.
#[derive(Debug, Default)]
pub struct Scores {
    peers: HashMap<PeerId, Standing>,
    /// Refused peers that made room for others before their time was up.
    pushed_out: Vec<PeerId>,
}

impl Scores {
    /// Counts a fault; says what to do with the peer.
    pub fn count(&mut self, peer: PeerId, fault: Fault, now: Instant) -> Sentence {
        let rule = fault.rule();
        if !self.peers.contains_key(&peer) {
            self.make_room(now);
        }
        let standing =
            self.peers.entry(peer).or_insert(Standing { points: 0, since: now, refused_until: None });
        if standing.is_refused(now) {
            return Sentence::None;
        }
        let points = standing.points_at(now).saturating_add(rule.weight);
        *standing = Standing { points, since: now, refused_until: None };
        if rule.action == Action::Refuse || points >= LINE {
            standing.refused_until = Some(now + REFUSED_FOR);
            return Sentence::Refuse;
        }
        Sentence::None
    }

    /// Points of a peer now.
    pub fn points(&self, peer: &PeerId, now: Instant) -> u32 {
        self.peers.get(peer).map_or(0, |standing| standing.points_at(now))
    }

    #[cfg(test)]
    fn is_refused(&self, peer: &PeerId, now: Instant) -> bool {
        self.peers.get(peer).is_some_and(|standing| standing.is_refused(now))
    }

    /// Everybody who has something left.
    pub fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }

    /// Forgets whoever has nothing left; returns the peers whose refusal has ended.
    pub fn expire(&mut self, now: Instant) -> Vec<PeerId> {
        let mut pardoned = std::mem::take(&mut self.pushed_out);
        // One that was pushed out may have come back, and been refused again.
        pardoned.retain(|peer| !self.peers.get(peer).is_some_and(|standing| standing.is_refused(now)));
        for (peer, standing) in &mut self.peers {
            if standing.refused_until.is_some_and(|until| until <= now) {
                standing.refused_until = None;
                pardoned.push(*peer);
            }
        }
        self.peers.retain(|_, standing| standing.refused_until.is_some() || standing.points_at(now) > 0);
        pardoned
    }

    fn make_room(&mut self, now: Instant) {
        if self.peers.len() < PEERS_MAX {
            return;
        }
        let least = self.peers.iter().filter(|(_, standing)| standing.refused_until.is_none());
        let least = least.min_by_key(|(_, standing)| standing.points_at(now)).map(|(peer, _)| *peer);
        // Where all are refused, the one whose time is up first.
        let first =
            || self.peers.iter().min_by_key(|(_, standing)| standing.refused_until).map(|(peer, _)| *peer);
        if let Some(peer) = least.or_else(first)
            && let Some(standing) = self.peers.remove(&peer)
            && standing.refused_until.is_some()
        {
            self.pushed_out.push(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_add_up_to_a_refusal_that_ends() {
        let (mut scores, peer, start) = (Scores::default(), PeerId::random(), Instant::now());
        for _ in 0..3 {
            assert_eq!(scores.count(peer, Fault::Malformed, start), Sentence::None);
        }
        assert_eq!((scores.points(&peer, start), scores.is_refused(&peer, start)), (75, false));
        assert_eq!(scores.count(peer, Fault::Malformed, start), Sentence::Refuse);
        // Told once; what still comes in meanwhile changes nothing.
        assert_eq!(scores.count(peer, Fault::Malformed, start), Sentence::None);
        let end = start + REFUSED_FOR;
        assert!(scores.is_refused(&peer, end - Duration::from_secs(1)));
        assert!(scores.expire(end - Duration::from_secs(1)).is_empty());
        assert_eq!(scores.expire(end), vec![peer]);
        assert_eq!((scores.points(&peer, end), scores.is_refused(&peer, end)), (0, false));
    }

    #[test]
    fn points_decay_so_that_rare_faults_are_forgiven() {
        let (mut scores, peer, start) = (Scores::default(), PeerId::random(), Instant::now());
        let mut now = start;
        for _ in 0..50 {
            assert_eq!(scores.count(peer, Fault::Stalled, now), Sentence::None);
            now += Duration::from_secs(10);
        }
        assert_eq!(scores.points(&peer, now), 0);
    }

    #[test]
    fn a_peer_of_another_chain_is_refused_at_once() {
        let (mut scores, peer, now) = (Scores::default(), PeerId::random(), Instant::now());
        assert_eq!(scores.count(peer, Fault::WrongChain, now), Sentence::Refuse);
        assert!(scores.is_refused(&peer, now));
    }

    #[test]
    fn whoever_is_pushed_out_is_let_in_again_and_not_refused_for_ever() {
        let (mut scores, start) = (Scores::default(), Instant::now());
        let peers: Vec<_> = (0..=PEERS_MAX).map(|_| PeerId::random()).collect();
        for (number, peer) in peers.iter().enumerate() {
            scores.count(*peer, Fault::WrongChain, start + Duration::from_millis(number as u64));
        }
        let now = start + Duration::from_secs(9);
        assert_eq!(scores.expire(now), vec![peers[0]]);
        assert_eq!(scores.expire(now), vec![]);
    }

    #[test]
    fn many_names_do_not_push_a_refused_peer_out() {
        let (mut scores, peer, now) = (Scores::default(), PeerId::random(), Instant::now());
        scores.count(peer, Fault::WrongChain, now);
        for _ in 0..PEERS_MAX + 10 {
            scores.count(PeerId::random(), Fault::Stalled, now);
        }
        assert!(scores.is_refused(&peer, now) && scores.peers.len() <= PEERS_MAX);
    }
}
