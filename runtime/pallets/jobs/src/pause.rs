//! Verdicts under one definition stop when they find too many wrong: the kernel may be, not the providers.

use assay_manifest::{Digest32, SpecId, TaggedHash};
use assay_protocol::certificate::ValidatorSignature;
use assay_protocol::job::{Effect, Job, Transition};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::dispatch::DispatchResult;
use frame_support::pallet_prelude::{InvalidTransaction, TransactionValidityWithRefund};
use frame_system::pallet_prelude::BlockNumberFor;
use scale_info::TypeInfo;
use sp_runtime::traits::Saturating;

use crate::steps::valid_votes;
use crate::votes::{Count, Outcome, Uncounted, count};
use crate::{Config, Error, Event, Pallet, Referees, RulingVotes, Specs, WRONG_MAX, Wrong};

/// What the validators say of a definition whose verdicts are paused.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum Ruling {
    /// It is right: verdicts under it count.
    #[codec(index = 0)]
    Confirm,
    /// It is not: no verdict under it counts, now or later, and no job is taken.
    #[codec(index = 1)]
    Annul,
}

/// A definition about which something was, or must be, said.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum SpecState<N> {
    /// Verdicts wait since this height.
    #[codec(index = 0)]
    Paused {
        /// The height.
        since: N,
    },
    /// Verdicts count, however many they find wrong, up to this height.
    #[codec(index = 1)]
    Confirmed {
        /// The height.
        until: N,
    },
    /// No verdict counts.
    #[codec(index = 2)]
    Annulled,
}

/// What validators sign to rule; `since` makes each pause a question of its own.
pub fn ruling_digest(genesis: &Digest32, spec: &SpecId, since: u32, ruling: Ruling) -> Digest32 {
    TaggedHash::new("assay/ruling/1")
        .digest(genesis)
        .fixed(spec.as_bytes())
        .u32(since)
        .u8(match ruling {
            Ruling::Confirm => 0,
            Ruling::Annul => 1,
        })
        .finish()
}

impl<T: Config> Pallet<T> {
    /// Whether verdicts under the definition do not count now.
    pub(crate) fn is_suspended(spec: &SpecId) -> bool {
        matches!(Specs::<T>::get(spec), Some(SpecState::Paused { .. } | SpecState::Annulled))
    }

    /// Whether the definition computes something else than it says: then nothing is asked under it any more.
    pub(crate) fn is_annulled(spec: &SpecId) -> bool {
        matches!(Specs::<T>::get(spec), Some(SpecState::Annulled))
    }

    /// Whether the deadline of a verdict does not count now: validators have one window to rule, and after it the
    /// same to decide what has waited. Longer nobody's money waits for them.
    pub(crate) fn puts_off(spec: &SpecId) -> bool {
        let now = frame_system::Pallet::<T>::block_number();
        match Specs::<T>::get(spec) {
            Some(SpecState::Paused { since }) => {
                now <= since.saturating_add(Self::params().verdict_window.into())
            }
            Some(SpecState::Confirmed { until }) => now <= until,
            Some(SpecState::Annulled) | None => false,
        }
    }

    /// Whether a verdict may be applied. If it would find a third provider wrong within the window, it is not,
    /// and the definition is paused.
    pub(crate) fn pass_verdict(job: &Job, transition: &Transition) -> bool {
        let spec = job.record.spec_id;
        let now = frame_system::Pallet::<T>::block_number();
        let confirmed = matches!(Specs::<T>::get(spec), Some(SpecState::Confirmed { until }) if now <= until);
        if confirmed {
            return true;
        }
        let window: BlockNumberFor<T> = Self::params().pause_window.into();
        let mut wrong: Vec<_> = Wrong::<T>::get(spec).into_inner();
        wrong.retain(|(_, at)| at.saturating_add(window) >= now);
        for account in found_wrong(transition) {
            let account: T::AccountId = account.into();
            wrong.retain(|(other, _)| *other != account);
            wrong.push((account, now));
        }
        let passes = wrong.len() <= WRONG_MAX as usize;
        if passes {
            if wrong.is_empty() {
                Wrong::<T>::remove(spec);
            } else {
                Wrong::<T>::insert(spec, frame_support::BoundedVec::truncate_from(wrong));
            }
        } else {
            Specs::<T>::insert(spec, SpecState::Paused { since: now });
            Self::deposit_event(Event::Paused { spec, job: job.id });
        }
        passes
    }

    pub(crate) fn authorize_ruling(
        spec: &SpecId,
        ruling: Ruling,
        signatures: &[ValidatorSignature],
    ) -> TransactionValidityWithRefund {
        let message = Self::paused_question(spec, ruling).ok_or(InvalidTransaction::Stale)?;
        let counted = Self::count_ruling(spec, &message, signatures).map_err(InvalidTransaction::from)?;
        valid_votes("assay/ruling", spec, &counted.voters)
    }

    pub(crate) fn do_rule(spec: SpecId, ruling: Ruling, signatures: &[ValidatorSignature]) -> DispatchResult {
        let message = Self::paused_question(&spec, ruling).ok_or(Error::<T>::Refused)?;
        let Count { votes, voters, outcome } =
            Self::count_ruling(&spec, &message, signatures).map_err(|_| Error::<T>::Refused)?;
        for validator in voters {
            Self::deposit_event(Event::VotedToRule { spec, validator, ruling });
        }
        if outcome == Outcome::Open {
            RulingVotes::<T>::insert(spec, votes);
            return Ok(());
        }
        RulingVotes::<T>::remove(spec);
        Self::enact_ruling(spec, ruling);
        Ok(())
    }

    fn count_ruling(
        spec: &SpecId,
        message: &Digest32,
        signatures: &[ValidatorSignature],
    ) -> Result<Count, Uncounted> {
        count(RulingVotes::<T>::get(spec), &T::Referees::set(), message, signatures)
    }

    fn enact_ruling(spec: SpecId, ruling: Ruling) {
        let window: BlockNumberFor<T> = Self::params().pause_window.into();
        let until = frame_system::Pallet::<T>::block_number().saturating_add(window);
        Specs::<T>::insert(
            spec,
            match ruling {
                Ruling::Confirm => SpecState::Confirmed { until },
                Ruling::Annul => SpecState::Annulled,
            },
        );
        Wrong::<T>::remove(spec);
        Self::deposit_event(Event::Ruled { spec, ruling });
    }

    fn paused_question(spec: &SpecId, ruling: Ruling) -> Option<Digest32> {
        let Some(SpecState::Paused { since }) = Specs::<T>::get(spec) else { return None };
        let since = sp_runtime::SaturatedConversion::saturated_into(since);
        Some(ruling_digest(&Self::genesis(), spec, since, ruling))
    }
}

fn found_wrong(transition: &Transition) -> impl Iterator<Item = assay_protocol::party::AccountBytes> {
    transition.effects.iter().filter_map(|effect| match effect {
        Effect::Fault { provider } => Some(*provider),
        _ => None,
    })
}
