//! What one of this node's own lacks, and what is asked for in its place. Pure.

use std::collections::{BTreeMap, BTreeSet};

use assay_manifest::JobId;
use assay_protocol::job::{Job, Phase, SeatOutcome};
use assay_protocol::party::{AccountBytes, Role};
use assay_protocol::seal::Purpose;
use libp2p::PeerId;

use crate::network::backoff::Backoff;
use crate::network::presence::Place;

/// Blocks that whoever owes something is given to hand it over.
const GRACE_BLOCKS: u32 = 2;
/// Blocks from one question to the next.
const RETRY_BLOCKS: Backoff = Backoff { first: 1, last: 16 };
/// Peers of whom nobody knows what they have that are asked at once: a network of a few nodes is asked through before what
/// is lacked is deleted everywhere.
const STRANGERS_AT_ONCE: usize = 4;

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
                (role, SeatOutcome::Pending) if role.verifies() && is_verifying => Purpose::Work,
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

#[derive(Clone, Debug)]
struct Asking {
    holders: Vec<AccountBytes>,
    attempts: u32,
    next: u32,
    is_under_way: bool,
}

/// A question that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// What is lacked.
    pub want: Want,
    /// Who may have it.
    pub holders: Vec<AccountBytes>,
    /// How often it was asked for before.
    pub attempts: u32,
}

/// What is lacked, and when to ask for it again.
#[derive(Debug, Default)]
pub struct Wants {
    wants: BTreeMap<Want, Asking>,
}

impl Wants {
    /// Takes over what is lacked at a height, with who may have it. Of what was looked at, as `was_looked_at` says,
    /// whatever is lacked no longer is forgotten; the rest has its turn later, and stays.
    pub fn update(
        &mut self,
        lacked: BTreeMap<Want, Vec<AccountBytes>>,
        was_looked_at: impl Fn(&Want) -> bool,
        height: u32,
    ) {
        self.wants.retain(|want, _| lacked.contains_key(want) || !was_looked_at(want));
        let next = height.saturating_add(GRACE_BLOCKS);
        for (want, holders) in lacked {
            let fresh = Asking { holders: Vec::new(), attempts: 0, next, is_under_way: false };
            self.wants.entry(want).or_insert(fresh).holders = holders;
        }
    }

    /// Up to `limit` to be asked for now.
    pub fn take_due(&mut self, height: u32, limit: usize) -> Vec<Due> {
        let due = self.wants.iter_mut().filter(|(_, asking)| !asking.is_under_way && asking.next <= height);
        due.take(limit)
            .map(|(want, asking)| {
                asking.is_under_way = true;
                Due { want: *want, holders: asking.holders.clone(), attempts: asking.attempts }
            })
            .collect()
    }

    /// The question was answered, or was not; what is still lacked is asked for again.
    pub fn asked(&mut self, want: &Want, height: u32) {
        let Some(asking) = self.wants.get_mut(want) else { return };
        let wait = RETRY_BLOCKS.after(asking.attempts);
        asking.attempts = asking.attempts.saturating_add(1);
        (asking.next, asking.is_under_way) = (height.saturating_add(wait), false);
    }
}

/// Whom to ask this time: one of those who should have it, and every other time, or always where none of them is known, a
/// few of everybody who is connected, for each want in an order of its own.
pub fn in_turn(want: &Want, places: &[Place], connected: Vec<PeerId>, attempts: u32) -> Vec<Place> {
    let is_stranger = |peer: &PeerId| places.iter().all(|place| place.peer != *peer);
    let mut strangers: Vec<_> = connected.into_iter().filter(is_stranger).collect();
    strangers.sort_by_cached_key(|peer| {
        let mut hash = blake3::Hasher::new();
        hash.update(want.job.as_bytes()).update(&want.recipient).update(&peer.to_bytes());
        *hash.finalize().as_bytes()
    });
    let attempts = usize::try_from(attempts).unwrap_or(usize::MAX);
    let is_for_a_holder = strangers.is_empty() || (!places.is_empty() && attempts.is_multiple_of(2));
    let each_has_half = !strangers.is_empty() && !places.is_empty();
    let turn = if each_has_half { attempts / 2 } else { attempts };
    if is_for_a_holder {
        return some_of(places, turn, 1).cloned().collect();
    }
    let place = |peer: &PeerId| Place { peer: *peer, addresses: Vec::new() };
    some_of(&strangers, turn, STRANGERS_AT_ONCE).map(place).collect()
}

/// The next so many of a list in this turn, going round.
fn some_of<T>(all: &[T], turn: usize, count: usize) -> impl Iterator<Item = &T> {
    let start = turn.checked_rem(all.len()).unwrap_or(0).saturating_mul(count);
    all.iter().cycle().skip(start).take(count.min(all.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(job: u8) -> Want {
        Want { job: JobId::from_bytes([job; 32]), purpose: Purpose::Answer, recipient: [2; 32] }
    }

    fn lacked(jobs: impl Iterator<Item = u8>) -> BTreeMap<Want, Vec<AccountBytes>> {
        jobs.map(|job| (want(job), vec![[job; 32]])).collect()
    }

    #[test]
    fn what_is_lacked_is_asked_for_after_a_while_and_again_until_it_is_there() {
        let mut wants = Wants::default();
        let mut asked = Vec::new();
        for height in 10..60 {
            wants.update(lacked(1..2), |_| true, height);
            for Due { want, attempts, holders } in wants.take_due(height, 9) {
                assert_eq!(holders, vec![[1; 32]]);
                assert!(wants.take_due(height, 9).is_empty());
                asked.push((height, attempts));
                wants.asked(&want, height);
            }
        }
        assert_eq!(asked, vec![(12, 0), (13, 1), (15, 2), (19, 3), (27, 4), (43, 5), (59, 6)]);
        wants.update(BTreeMap::new(), |_| true, 60);
        assert!(wants.take_due(1_000, 9).is_empty());
    }

    #[test]
    fn what_has_its_turn_only_now_and_then_is_asked_for_all_the_same() {
        let mut wants = Wants::default();
        let mut asked = BTreeSet::new();
        // Four hundred jobs could be bought here, of which each block looks at a quarter.
        for height in 10..30u32 {
            let turn = |job: u8| u32::from(job) % 4 == height % 4;
            let looked = |want: &Want| turn(want.job.as_bytes()[0]);
            wants.update(lacked((0..200).filter(|job| turn(*job))), looked, height);
            for due in wants.take_due(height, 50) {
                asked.insert(due.want);
                wants.asked(&due.want, height);
            }
        }
        assert_eq!(asked.len(), 200);
        (30..34u32).for_each(|height| {
            wants.update(BTreeMap::new(), |want| u32::from(want.job.as_bytes()[0]) % 4 == height % 4, height);
        });
        assert!(wants.wants.is_empty());
    }

    #[test]
    fn holders_and_everybody_connected_are_asked_in_turn() {
        let holder = Place { peer: PeerId::random(), addresses: Vec::new() };
        let connected: Vec<_> = (0..40).map(|_| PeerId::random()).collect();
        let ask = |job, holders: &[Place], attempts| -> Vec<PeerId> {
            let places = in_turn(&want(job), holders, connected.clone(), attempts);
            places.into_iter().map(|place| place.peer).collect()
        };
        let known = [holder.clone()];
        let asked: Vec<_> = (0..20).map(|attempts| ask(1, &known, attempts)).collect();
        assert!(asked.iter().step_by(2).all(|peers| *peers == [holder.peer]));
        let strangers: BTreeSet<_> = asked.iter().skip(1).step_by(2).flatten().collect();
        assert_eq!(strangers, connected.iter().collect());
        // Two wants begin with different strangers; if not these two, then others.
        assert!((2..30).any(|job| ask(job, &known, 1) != ask(1, &known, 1)));
        assert_eq!(in_turn(&want(1), &[], vec![], 7), vec![]);
        assert_eq!(in_turn(&want(1), &known, vec![], 7), known);
        let alone: BTreeSet<_> = (0..10).flat_map(|attempts| ask(1, &[], attempts)).collect();
        assert_eq!(alone.len(), 40);
    }
}
