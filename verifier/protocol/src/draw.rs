//! The draw of seats by free stake, recomputable by anyone (clauses J1 and J15).

use assay_manifest::{Digest32, JobId, TaggedHash, merkle};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::party::{AccountBytes, Role};
use crate::units::{Amount, OutOfRange};

/// One account that may be drawn, with its weight.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Candidate {
    /// The provider.
    #[serde(with = "crate::hex_bytes")]
    pub provider: AccountBytes,
    /// Its free stake: not locked by other jobs, not unbonding.
    pub free_stake: Amount,
}

/// Public facts of a draw, kept in the settlement record.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrawFacts {
    /// Height whose randomness was used.
    pub height: crate::units::Height,
    /// R_h of that height.
    pub randomness: Digest32,
    /// N: accounts that could be drawn.
    pub eligible: u32,
    /// Sum of their free stake.
    pub eligible_stake: Amount,
    /// Free stake of the largest of them.
    pub largest_stake: Amount,
    /// Stake of all providers of the chain.
    pub total_stake: Amount,
    /// [`eligible_root`] over them.
    pub eligible_root: Digest32,
}

impl DrawFacts {
    /// The facts of a draw from `candidates`.
    ///
    /// # Errors
    /// [`OutOfRange`] when the stakes do not sum.
    pub fn of(
        height: crate::units::Height,
        randomness: Digest32,
        candidates: &[Candidate],
        total_stake: Amount,
    ) -> Result<Self, OutOfRange> {
        let eligible_stake =
            candidates.iter().try_fold(Amount::ZERO, |sum, candidate| sum.plus(candidate.free_stake))?;
        Ok(Self {
            height,
            randomness,
            eligible: u32::try_from(candidates.len()).map_err(|_| OutOfRange)?,
            eligible_stake,
            largest_stake: candidates.iter().map(|c| c.free_stake).max().unwrap_or(Amount::ZERO),
            total_stake,
            eligible_root: eligible_root(candidates),
        })
    }

    /// Whether the draw was wide enough to speak of `verified` (clause J15): at least eight accounts,
    /// fifty bonds, a twentieth of all stake, and nobody above a quarter.
    pub fn is_wide(&self, bond: Amount) -> bool {
        let fifty_bonds = bond.times(50).is_ok_and(|needed| self.eligible_stake >= needed);
        let twentieth = self.eligible_stake.times(20).is_ok_and(|scaled| scaled >= self.total_stake);
        let spread = self.largest_stake.times(4).is_ok_and(|scaled| scaled <= self.eligible_stake);
        self.eligible >= 8 && fifty_bonds && twentieth && spread
    }
}

/// Seed of one draw: nothing that the executor chooses enters it (clause J1).
pub fn seed(randomness: &Digest32, job: &JobId, round: u8, role: Role) -> Digest32 {
    TaggedHash::new("assay/draw/1")
        .fixed(randomness.as_bytes())
        .fixed(job.as_bytes())
        .u8(round)
        .u8(role.byte())
        .finish()
}

/// RFC 9162 root over `account ‖ free stake` (u128, little-endian) in order of accounts.
pub fn eligible_root(candidates: &[Candidate]) -> Digest32 {
    let leaves: Vec<_> = sorted(candidates)
        .iter()
        .map(|candidate| {
            let mut bytes = candidate.provider.to_vec();
            bytes.extend_from_slice(&candidate.free_stake.get().to_le_bytes());
            merkle::leaf_hash(&bytes)
        })
        .collect();
    merkle::root(&leaves)
}

/// Draws up to `seats` different candidates, each with a chance in proportion to its free stake.
///
/// The i-th draw takes the first 16 bytes of `H("assay/draw-seat/1" ‖ seed ‖ i)` as a little-endian number
/// modulo the stake that is left, and walks the accounts in ascending order. The modulo's bias is below
/// 2⁻⁴⁰ for any stake under 2⁸⁸.
pub fn draw(seed: &Digest32, candidates: &[Candidate], seats: usize) -> Vec<Candidate> {
    let mut pool: Vec<Candidate> =
        sorted(candidates).into_iter().filter(|c| c.free_stake > Amount::ZERO).collect();
    let mut drawn = Vec::new();
    for index in 0u32.. {
        let total = pool.iter().try_fold(0u128, |sum, c| sum.checked_add(c.free_stake.get()));
        let (Some(total), true) = (total, drawn.len() < seats && !pool.is_empty()) else { break };
        let point = number(seed, index).checked_rem(total).unwrap_or(0);
        let position = position_of(&pool, point);
        drawn.push(pool.remove(position));
    }
    drawn
}

fn position_of(pool: &[Candidate], point: u128) -> usize {
    let mut passed = 0u128;
    pool.iter()
        .position(|candidate| {
            passed = passed.saturating_add(candidate.free_stake.get());
            point < passed
        })
        .unwrap_or(0)
}

fn number(seed: &Digest32, index: u32) -> u128 {
    let hash = TaggedHash::new("assay/draw-seat/1").fixed(seed.as_bytes()).u32(index).finish();
    hash.as_bytes().iter().take(16).rev().fold(0, |number, byte| (number << 8) | u128::from(*byte))
}

fn sorted(candidates: &[Candidate]) -> Vec<Candidate> {
    let mut sorted = candidates.to_vec();
    sorted.sort();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pool(stakes: &[u128]) -> Vec<Candidate> {
        (0u8..)
            .zip(stakes)
            .map(|(i, stake)| Candidate { provider: [i; 32], free_stake: Amount::new(*stake) })
            .collect()
    }

    fn seed_of(n: u32) -> Digest32 {
        TaggedHash::new("test/seed").u32(n).finish()
    }

    #[test]
    fn nobody_is_drawn_twice_and_order_of_candidates_does_not_matter() {
        let mut candidates = pool(&[5, 0, 7, 9, 11]);
        let drawn = draw(&seed_of(1), &candidates, 12);
        assert_eq!(drawn.len(), 4, "stakeless accounts are never drawn");
        candidates.reverse();
        assert_eq!(drawn, draw(&seed_of(1), &candidates, 12));
    }

    #[test]
    fn chances_follow_stake() {
        let candidates = pool(&[1, 3]);
        let hits = (0..4_000).filter(|n| draw(&seed_of(*n), &candidates, 1)[0].provider == [1; 32]).count();
        assert!((2_880..=3_120).contains(&hits), "{hits} of 4000, expected about 3000");
    }

    #[test]
    fn thin_draws_are_told_from_wide_ones() {
        let bond = Amount::new(10);
        let facts = |stakes: &[u128], total: u128| {
            DrawFacts::of(crate::units::Height::new(1), Digest32::ZERO, &pool(stakes), Amount::new(total))
                .unwrap()
        };
        assert!(facts(&[100; 8], 800).is_wide(bond));
        assert!(!facts(&[100; 7], 700).is_wide(bond), "seven accounts");
        assert!(!facts(&[50; 8], 400).is_wide(bond), "fewer than fifty bonds");
        assert!(!facts(&[100; 8], 16_001).is_wide(bond), "under a twentieth of all stake");
        assert!(
            !facts(&[100, 100, 100, 100, 100, 100, 100, 900], 1_600).is_wide(bond),
            "one above a quarter"
        );
    }

    proptest! {
        #[test]
        fn every_seat_comes_from_the_candidates(stakes in prop::collection::vec(0u128..1u128 << 90, 0..40), n: u32, seats in 0usize..13) {
            let candidates = pool(&stakes);
            let drawn = draw(&seed_of(n), &candidates, seats);
            prop_assert!(drawn.len() <= seats);
            for seat in &drawn {
                prop_assert!(candidates.contains(seat));
            }
        }
    }
}
