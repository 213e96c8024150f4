//! Envelopes that are to be handed over. No clock: every call is told the height.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use assay_manifest::JobId;
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::Purpose;
use libp2p::PeerId;

use crate::network::backoff::Backoff;
use crate::network::ports::Slip;
use crate::network::presence::Place;

/// Envelopes that wait at the most. More are not handed over until the node starts again, or they are fetched.
const SLIPS_MAX: usize = 65_536;
/// Blocks from one attempt to the next.
const RETRY_BLOCKS: Backoff = Backoff { first: 1, last: 32 };

#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    attempts: u32,
    next: u32,
    is_under_way: bool,
    /// An answer whose job is not known to be paid. It holds the executor's trace root, which nobody may learn before
    /// the seats have committed.
    is_held_back: bool,
}

/// Envelopes for one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Where it goes.
    pub place: Place,
    /// What goes there.
    pub slips: Vec<Slip>,
}

/// What waits to be handed over.
#[derive(Debug, Default)]
pub struct Outbox {
    slips: BTreeMap<Slip, Waiting>,
    /// Peers to whom a load is under way.
    busy: BTreeSet<PeerId>,
}

impl Outbox {
    /// An envelope lies here that is for somebody else; an earlier one of the same slip may have been handed over.
    /// An answer is held back until its job is [`Self::paid`]. False if there is no room.
    pub fn add(&mut self, slip: Slip) -> bool {
        if !self.slips.contains_key(&slip) && self.slips.len() >= SLIPS_MAX {
            return false;
        }
        let is_held_back = slip.purpose == Purpose::Answer;
        self.slips.insert(slip, Waiting { is_held_back, ..Waiting::default() });
        true
    }

    /// A job is paid: its answer may go to its requester.
    pub fn paid(&mut self, job: &JobId) {
        for (_, waiting) in self.slips.iter_mut().filter(|(slip, _)| slip.job == *job) {
            waiting.is_held_back = false;
        }
    }

    /// Jobs of which something waits.
    pub fn jobs(&self) -> Vec<JobId> {
        let mut jobs: Vec<_> = self.slips.keys().map(|slip| slip.job).collect();
        // Slips are ordered by job.
        jobs.dedup();
        jobs
    }

    /// What can be handed over now, by peer: at most `loads_max` loads of `slips_max` each, and one a peer until that has
    /// [`Self::returned`]. `find` tells where somebody is; whoever is nowhere waits.
    pub fn take_due(
        &mut self,
        height: u32,
        (loads_max, slips_max): (usize, usize),
        find: impl Fn(&Slip) -> Option<Place>,
    ) -> Vec<Load> {
        let mut places: HashMap<(JobId, AccountBytes), Option<Place>> = HashMap::new();
        let mut loads: BTreeMap<PeerId, Load> = BTreeMap::new();
        for (slip, waiting) in &mut self.slips {
            if waiting.is_under_way || waiting.is_held_back || waiting.next > height {
                continue;
            }
            let place = places.entry((slip.job, slip.recipient)).or_insert_with(|| find(slip));
            let Some(place) = place else {
                // Looked for again with the next block.
                waiting.next = height.saturating_add(1);
                continue;
            };
            let has_load = loads.contains_key(&place.peer);
            if self.busy.contains(&place.peer) || (!has_load && loads.len() >= loads_max) {
                continue;
            }
            let load =
                loads.entry(place.peer).or_insert_with(|| Load { place: place.clone(), slips: Vec::new() });
            if load.slips.len() < slips_max {
                load.slips.push(*slip);
                waiting.is_under_way = true;
            }
        }
        self.busy.extend(loads.keys());
        loads.into_values().collect()
    }

    /// A load is no longer under way, however it ended.
    pub fn returned(&mut self, peer: &PeerId) {
        self.busy.remove(peer);
    }

    /// An envelope was taken, or nobody is to have it any more.
    pub fn done(&mut self, slip: &Slip) {
        // One that was put in meanwhile in its place waits.
        if self.slips.get(slip).is_some_and(|waiting| waiting.is_under_way) {
            self.slips.remove(slip);
        }
    }

    /// An envelope was not taken.
    pub fn failed(&mut self, slip: &Slip, height: u32) {
        let Some(waiting) = self.slips.get_mut(slip) else { return };
        let wait = RETRY_BLOCKS.after(waiting.attempts);
        waiting.attempts = waiting.attempts.saturating_add(1);
        (waiting.next, waiting.is_under_way) = (height.saturating_add(wait), false);
    }

    /// A job has left the ledger.
    pub fn close(&mut self, job: &JobId) {
        self.slips.retain(|slip, _| slip.job != *job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slip(job: u8, recipient: u8) -> Slip {
        Slip {
            job: JobId::from_bytes([job; 32]),
            purpose: Purpose::Work,
            recipient: [recipient; 32],
            seat: 0,
            sender: [9; 32],
        }
    }

    fn place(peer: PeerId) -> Option<Place> {
        Some(Place { peer, addresses: Vec::new() })
    }

    #[test]
    fn an_envelope_is_handed_over_until_it_is_taken_and_less_and_less_often() {
        let (mut outbox, peer) = (Outbox::default(), PeerId::random());
        assert!(outbox.add(slip(1, 2)));
        let mut tried = Vec::new();
        for height in 0..200 {
            for load in outbox.take_due(height, (9, 9), |_| place(peer)) {
                assert_eq!(load.slips, vec![slip(1, 2)]);
                // While it is under way it is not tried again.
                assert!(outbox.take_due(height + 100, (9, 9), |_| place(peer)).is_empty());
                tried.push(height);
                outbox.failed(&slip(1, 2), height);
                outbox.returned(&peer);
            }
        }
        assert_eq!(tried[..7], [0, 1, 3, 7, 15, 31, 63]);
        assert_eq!(outbox.take_due(1_000, (9, 9), |_| place(peer)).len(), 1);
        outbox.done(&slip(1, 2));
        assert!(outbox.jobs().is_empty());
    }

    #[test]
    fn whoever_is_nowhere_waits_without_a_count() {
        let (mut outbox, peer) = (Outbox::default(), PeerId::random());
        outbox.add(slip(1, 2));
        for height in 0..50 {
            assert!(outbox.take_due(height, (9, 9), |_| None).is_empty());
        }
        assert_eq!(outbox.take_due(50, (9, 9), |_| place(peer)).len(), 1);
    }

    #[test]
    fn loads_have_bounds_and_one_peer_gets_one_load() {
        let mut outbox = Outbox::default();
        for number in 0..30 {
            outbox.add(slip(number, number % 3));
        }
        let peers = [PeerId::random(), PeerId::random(), PeerId::random()];
        let find = |slip: &Slip| place(peers[usize::from(slip.recipient[0])]);
        let loads = outbox.take_due(0, (2, 4), find);
        assert_eq!(loads.iter().map(|load| load.slips.len()).collect::<Vec<_>>(), vec![4, 4]);
        // Two are under way to two of them.
        let rest = outbox.take_due(0, (9, 99), find);
        assert_eq!(rest.iter().map(|load| load.slips.len()).collect::<Vec<_>>(), vec![10]);
        loads.iter().for_each(|load| outbox.returned(&load.place.peer));
        let rest: usize = outbox.take_due(0, (9, 99), find).iter().map(|load| load.slips.len()).sum();
        assert_eq!(rest, 12);
    }

    #[test]
    fn what_was_put_in_again_meanwhile_is_handed_over_again() {
        let (mut outbox, peer) = (Outbox::default(), PeerId::random());
        outbox.add(slip(1, 2));
        assert_eq!(outbox.take_due(0, (9, 9), |_| place(peer)).len(), 1);
        outbox.add(slip(1, 2));
        outbox.done(&slip(1, 2));
        outbox.returned(&peer);
        assert_eq!(outbox.take_due(0, (9, 9), |_| place(peer)).len(), 1);
    }

    #[test]
    fn an_answer_waits_until_its_job_is_paid_also_one_that_is_put_in_again() {
        let (mut outbox, peer) = (Outbox::default(), PeerId::random());
        let answer = Slip { purpose: Purpose::Answer, ..slip(1, 2) };
        for _ in 0..2 {
            outbox.add(answer);
            assert!(outbox.take_due(0, (9, 9), |_| place(peer)).is_empty());
            outbox.paid(&slip(2, 2).job);
            assert!(outbox.take_due(0, (9, 9), |_| place(peer)).is_empty());
            outbox.paid(&answer.job);
            assert_eq!(outbox.take_due(0, (9, 9), |_| place(peer))[0].slips, vec![answer]);
            outbox.returned(&peer);
        }
    }

    #[test]
    fn a_closed_job_is_forgotten() {
        let mut outbox = Outbox::default();
        outbox.add(slip(1, 2));
        outbox.add(slip(2, 2));
        outbox.close(&slip(1, 2).job);
        assert_eq!(outbox.jobs(), vec![slip(2, 2).job]);
    }
}
