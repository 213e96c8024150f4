//! Where inputs came from, to which the answer goes.

use std::collections::{BTreeMap, HashMap};

use assay_manifest::JobId;
use libp2p::PeerId;

/// Jobs that are remembered; the oldest makes room. The node through which it was bought fetches its answer.
const ORIGINS_MAX: usize = 16_384;

/// The peer that brought the input of each job first.
#[derive(Debug, Default)]
pub struct Origins {
    arrivals: u64,
    by_job: HashMap<JobId, (u64, PeerId)>,
    by_arrival: BTreeMap<u64, JobId>,
}

impl Origins {
    /// A peer brought the input of a job. Whoever brings it again changes nothing.
    pub fn add(&mut self, job: JobId, peer: PeerId) {
        if self.by_job.contains_key(&job) {
            return;
        }
        self.by_job.insert(job, (self.arrivals, peer));
        self.by_arrival.insert(self.arrivals, job);
        self.arrivals = self.arrivals.saturating_add(1);
        while self.by_job.len() > ORIGINS_MAX {
            let Some((_, oldest)) = self.by_arrival.pop_first() else { break };
            self.by_job.remove(&oldest);
        }
    }

    /// Who brought the input of a job.
    pub fn of(&self, job: &JobId) -> Option<PeerId> {
        self.by_job.get(job).map(|(_, peer)| *peer)
    }

    /// A job has left the ledger.
    pub fn close(&mut self, job: &JobId) {
        if let Some((arrival, _)) = self.by_job.remove(job) {
            self.by_arrival.remove(&arrival);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: usize) -> JobId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        JobId::from_bytes(bytes)
    }

    #[test]
    fn whoever_came_first_stays_and_the_oldest_makes_room() {
        let (mut origins, first, later) = (Origins::default(), PeerId::random(), PeerId::random());
        origins.add(job(0), first);
        origins.add(job(0), later);
        assert_eq!(origins.of(&job(0)), Some(first));
        origins.close(&job(0));
        assert_eq!(origins.of(&job(0)), None);
        for number in 1..=ORIGINS_MAX + 1 {
            origins.add(job(number), later);
        }
        assert_eq!((origins.of(&job(1)), origins.of(&job(2))), (None, Some(later)));
        assert_eq!((origins.by_job.len(), origins.by_arrival.len()), (ORIGINS_MAX, ORIGINS_MAX));
    }
}
