//! What one of this node's own lacks, and what is asked for in its place. Pure.

use std::collections::{BTreeMap, BTreeSet};

use assay_manifest::JobId;
use assay_protocol::job::{Job, Phase, SeatOutcome};
use assay_protocol::party::{AccountBytes, Role};
use assay_protocol::seal::Purpose;

/// Blocks that whoever owes something is given to hand it over.
const GRACE_BLOCKS: u32 = 2;
/// Blocks from one question to the next, doubled from the first value to the second.
const RETRY_BLOCKS: (u32, u32) = (1, 16);

/// Something that is lacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Want {
    /// The job.
    pub job: JobId,
    /// What.
    pub purpose: Purpose,
    /// Who lacks it.
    pub recipient: AccountBytes,
}

/// Envelopes that seats of `hosted` accounts need for what they have to do now.
pub fn needed(job: &Job, hosted: &[AccountBytes]) -> Vec<Want> {
    let is_verifying = matches!(job.phase, Phase::Verifying | Phase::Rechecking { .. });
    let seats = job.round_seats().filter(|seat| hosted.contains(&seat.provider));
    seats
        .filter_map(|seat| {
            let purpose = match (seat.role, seat.outcome) {
                (Role::Executor, SeatOutcome::Pending | SeatOutcome::Accepted) => Purpose::Input,
                (Role::Verifier, SeatOutcome::Pending) if is_verifying => Purpose::Work,
                _ => return None,
            };
            Some(Want { job: job.id, purpose, recipient: seat.provider })
        })
        .collect()
}

/// Who may have what is lacked: for an answer, and for work, whoever executed; after it, for what is contested, every
/// seat that committed. An input is with the node through which it was bought, which has no name.
pub fn holders(job: &Job, want: &Want) -> Vec<AccountBytes> {
    if want.purpose == Purpose::Input {
        return Vec::new();
    }
    let executor = job.answerer().map(|seat| seat.provider);
    let others = job.seats.iter().filter(|seat| job.is_contested() && seat.commitment.is_some());
    let all = executor.into_iter().chain(others.map(|seat| seat.provider));
    let mut seen = BTreeSet::new();
    all.filter(|party| *party != want.recipient && seen.insert(*party)).collect()
}

#[derive(Clone, Copy, Debug)]
struct Asking {
    attempts: u32,
    next: u32,
    is_under_way: bool,
}

/// What is lacked, and when to ask for it again.
#[derive(Debug, Default)]
pub struct Wants {
    wants: BTreeMap<Want, Asking>,
}

impl Wants {
    /// Takes over all that is lacked at a height; what is no longer is forgotten.
    pub fn update(&mut self, lacked: &BTreeSet<Want>, height: u32) {
        self.wants.retain(|want, _| lacked.contains(want));
        let next = height.saturating_add(GRACE_BLOCKS);
        for want in lacked {
            self.wants.entry(*want).or_insert(Asking { attempts: 0, next, is_under_way: false });
        }
    }

    /// Up to `limit` to be asked for now, with how often that was done before.
    pub fn take_due(&mut self, height: u32, limit: usize) -> Vec<(Want, u32)> {
        let due = self.wants.iter_mut().filter(|(_, asking)| !asking.is_under_way && asking.next <= height);
        due.take(limit)
            .map(|(want, asking)| {
                asking.is_under_way = true;
                (*want, asking.attempts)
            })
            .collect()
    }

    /// The question was answered, or was not; what is still lacked is asked for again.
    pub fn asked(&mut self, want: &Want, height: u32) {
        let Some(asking) = self.wants.get_mut(want) else { return };
        let (first, last) = RETRY_BLOCKS;
        let wait = first.saturating_mul(1 << asking.attempts.min(16)).min(last);
        asking.attempts = asking.attempts.saturating_add(1);
        (asking.next, asking.is_under_way) = (height.saturating_add(wait), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacked_is_asked_for_after_a_while_and_again_until_it_is_there() {
        let want = Want { job: JobId::from_bytes([1; 32]), purpose: Purpose::Work, recipient: [2; 32] };
        let (mut wants, lacked) = (Wants::default(), BTreeSet::from([want]));
        let mut asked = Vec::new();
        for height in 10..60 {
            wants.update(&lacked, height);
            for (want, attempts) in wants.take_due(height, 9) {
                assert!(wants.take_due(height, 9).is_empty());
                asked.push((height, attempts));
                wants.asked(&want, height);
            }
        }
        assert_eq!(asked, vec![(12, 0), (13, 1), (15, 2), (19, 3), (27, 4), (43, 5), (59, 6)]);
        wants.update(&BTreeSet::new(), 60);
        assert!(wants.take_due(1_000, 9).is_empty());
    }
}
