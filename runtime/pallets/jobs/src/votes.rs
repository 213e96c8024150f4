//! Votes of the validators, counted by the ledger: each sends a signature of its own, and none waits for another's.
//!
//! A question is a disputed job or a paused definition. A validator has one vote in it, its first; only votes of those
//! who are validators when the ledger counts do count, so whoever left has none, and whoever comes gets one.

use assay_manifest::{Digest32, JobId};
use assay_protocol::certificate::{CertificateError, ValidatorSet, ValidatorSignature};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::BoundedVec;
use frame_support::pallet_prelude::{ConstU32, InvalidTransaction};
use scale_info::TypeInfo;

use crate::{
    Config, Contested, Jobs, Pallet, Referees, RulingVotes, SpecState, Specs, VOTES_MAX, VerdictVotes,
};

/// What a validator signed in a question.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Vote {
    /// The validator's consensus key.
    pub validator: Digest32,
    /// What its signature covers.
    pub message: Digest32,
}

/// The votes in one question, in the order in which they came.
pub type Votes = BoundedVec<Vote, ConstU32<VOTES_MAX>>;

/// The votes in a question with those that a step brings.
pub(crate) struct Count {
    /// All that count.
    pub votes: Votes,
    /// Who voted with this step.
    pub voters: Vec<Digest32>,
    /// Whether those for the step's message decide.
    pub outcome: Outcome,
}

/// What the votes for a message come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// They are more than two thirds of all power.
    Decided,
    /// They are not.
    Open,
}

/// A step brings no vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uncounted {
    /// A signature is nobody's, or stands there twice. Such a step never counts.
    Forged,
    /// Whoever signed is no validator now, or has voted.
    Moot,
}

impl From<Uncounted> for InvalidTransaction {
    fn from(uncounted: Uncounted) -> Self {
        match uncounted {
            Uncounted::Forged => Self::BadProof,
            Uncounted::Moot => Self::Stale,
        }
    }
}

/// Adds the votes for `message` to those that were there. A step without a new one counts only if the votes decide
/// now: power moves between validators without a step of theirs.
pub(crate) fn count(
    before: Votes,
    set: &ValidatorSet,
    message: &Digest32,
    signatures: &[ValidatorSignature],
) -> Result<Count, Uncounted> {
    let signers = set.signers(message, signatures).map_err(|error| match error {
        CertificateError::UnknownValidator(_) => Uncounted::Moot,
        _ => Uncounted::Forged,
    })?;
    let mut votes = before;
    votes.retain(|vote| set.has(&vote.validator));
    let mut voters = Vec::new();
    for validator in signers {
        if votes.iter().any(|vote| vote.validator == validator) {
            continue;
        }
        // As many fit as there can be validators.
        votes.try_push(Vote { validator, message: *message }).map_err(|_| Uncounted::Moot)?;
        voters.push(validator);
    }
    let outcome = outcome(&votes, set, message);
    if voters.is_empty() && outcome == Outcome::Open {
        return Err(Uncounted::Moot);
    }
    Ok(Count { votes, voters, outcome })
}

fn outcome(votes: &Votes, set: &ValidatorSet, message: &Digest32) -> Outcome {
    let agreeing = votes.iter().filter(|vote| vote.message == *message);
    let agreeing: Vec<Digest32> = agreeing.map(|vote| vote.validator).collect();
    match set.decide(&agreeing) {
        Ok(()) => Outcome::Decided,
        Err(_) => Outcome::Open,
    }
}

impl<T: Config> Pallet<T> {
    /// The disputed jobs to which a verdict of this validator would add something: it has not voted, or its vote
    /// decides by now. What waits for a ruling waits with it.
    pub fn unjudged(validator: &Digest32) -> Vec<JobId> {
        let set = T::Referees::set();
        if !set.has(validator) {
            return Vec::new();
        }
        let adds = |id: &JobId| {
            let votes = VerdictVotes::<T>::get(id);
            let own = votes.iter().find(|vote| vote.validator == *validator).map(|vote| vote.message);
            own.is_none_or(|message| outcome(&votes, &set, &message) == Outcome::Decided)
        };
        let may_end =
            |id: &JobId| Jobs::<T>::get(id).is_some_and(|job| !Self::is_suspended(&job.record.spec_id));
        Contested::<T>::iter_keys().filter(may_end).filter(adds).collect()
    }

    /// Votes are kept for open questions alone, and nobody has two in one.
    pub(crate) fn votes_belong_to_questions() -> Result<(), &'static str> {
        for (id, votes) in VerdictVotes::<T>::iter() {
            if !Contested::<T>::contains_key(id) {
                return Err("votes are kept for a job that no validator is asked about");
            }
            are_votes(&votes)?;
        }
        for (spec, votes) in RulingVotes::<T>::iter() {
            if !matches!(Specs::<T>::get(spec), Some(SpecState::Paused { .. })) {
                return Err("votes are kept for a definition that is not paused");
            }
            are_votes(&votes)?;
        }
        Ok(())
    }
}

fn are_votes(votes: &Votes) -> Result<(), &'static str> {
    let mut keys: Vec<Digest32> = votes.iter().map(|vote| vote.validator).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    if keys.len() == count && count > 0 { Ok(()) } else { Err("a validator votes twice, or nobody does") }
}
