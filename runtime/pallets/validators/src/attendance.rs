//! Who signs: the commit that each block carries of the one before it, counted by the session (clauses V5 and V6).
//!
//! A proposer puts in the votes that it has. Who is slow is in fewer commits than it has signed, and who is censored in
//! none but those of proposers that do not join in, its own among them. So nobody is judged by how many it is in, but by
//! being in none; and those that are in none lose no stake and can never be many.

use assay_manifest::Digest32;
use assay_protocol::certificate::{Validator, ValidatorSet};
use assay_protocol::last_commit::LastCommit;
use assay_protocol::units::Height;
use frame_support::BoundedVec;
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::traits::Get;
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::traits::SaturatedConversion;

use crate::beacon::invalid_block;
use crate::pallet::VALIDATORS_MAX;
use crate::set::voters;
use crate::{Attendance, Attended, Attending, Bond, Bonds, Config, Deciders, Error, Event, LastSession};
use crate::{Pallet, ValidatorInfo, Validators, set_of};

/// Per cent of all votes that absent validators are left out with, at most. Less than a third of the votes that are
/// left may be dishonest, and those that are left out may all be honest: with a tenth, three tenths of all are still less
/// than a third of the rest.
pub const ABSENT_VOTES_PERCENT_MAX: u128 = 10;
/// Validators that are left at least where an absent one is left out: of four one may fail.
pub const VALIDATORS_LEAST: usize = 4;
/// Validators that become absent, or are no more, at the end of one session: bounds what its last block does. The others
/// do at the end of the next.
pub const JUDGED_MAX: usize = 16;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_note_commit(commit: &LastCommit) -> DispatchResult {
        let now: u32 = frame_system::Pallet::<T>::block_number().saturated_into();
        // Nobody has decided block 0.
        let before = now.checked_sub(1).filter(|before| *before > 0).ok_or(Error::<T>::Misplaced)?;
        ensure!(frame_system::Pallet::<T>::extrinsic_index() == Some(0), Error::<T>::Misplaced);
        let deciders = Deciders::<T>::get();
        let value = Digest32::from_bytes(frame_system::Pallet::<T>::parent_hash().0);
        let (set, block) = (ValidatorSet::new(deciders.to_vec()), (Height::new(before), &value));
        if let Err(error) = commit.check(&T::Genesis::get(), &set, block) {
            invalid_block(&format!("the commit of block {before}: {error}"));
        }
        let mut attendance = Attending::<T>::get();
        attendance.height = before;
        let validators = Validators::<T>::get();
        if now.is_multiple_of(T::Params::get().session_length) {
            // That block was decided by those of the session before, which has been judged.
            Self::call_roll(&validators, before);
            return Ok(());
        }
        attendance.count(commit);
        if set_of(&validators) != set {
            // Somebody was convicted in the block before.
            let counted = attended(&deciders, &attendance);
            let counts = validators.iter().map(|validator| counted.of(&validator.key).unwrap_or(0)).collect();
            attendance.signed = BoundedVec::truncate_from(counts);
            Deciders::<T>::put(voters(&validators));
        }
        Attending::<T>::put(attendance);
        Ok(())
    }

    /// Begins to count for those who decide from the next commit on.
    pub(crate) fn call_roll(validators: &[ValidatorInfo], height: u32) {
        let deciders = voters(validators);
        let signed = BoundedVec::truncate_from(vec![0; deciders.len()]);
        if Deciders::<T>::get() != deciders {
            Deciders::<T>::put(deciders);
        }
        Attending::<T>::put(Attendance { height, commits: 0, signed });
    }

    /// A block without the commit of the one before is none.
    pub(crate) fn require_commit(now: BlockNumberFor<T>) {
        let now: u32 = now.saturated_into();
        if now > 1 && Attending::<T>::get().height.saturating_add(1) != now {
            invalid_block("it lacks the commit of the block before it");
        }
    }

    /// Notes of validators whether they have signed anything in the session that ends: of those whose bonds say
    /// otherwise, up to [`JUDGED_MAX`].
    pub(crate) fn end_session(bonded: &mut [(T::AccountId, Bond<BlockNumberFor<T>>)]) {
        let session = Self::attendance();
        let commits = session.commits;
        // With fewer commits not everybody has had a turn to propose, and to put its own signature in.
        if commits as usize >= session.signed.len() {
            let changed = bonded.iter_mut().filter_map(|(validator, bond)| {
                let absent = session.of(&bond.keys.key)? == 0;
                (bond.absent != absent).then_some((validator, bond, absent))
            });
            for (validator, bond, absent) in changed.take(JUDGED_MAX) {
                bond.absent = absent;
                Bonds::<T>::insert(&*validator, &*bond);
                let validator = validator.clone();
                Self::deposit_event(match absent {
                    true => Event::Absent { validator, commits },
                    false => Event::Returned { validator },
                });
            }
        }
        LastSession::<T>::put(session);
    }

    pub(crate) fn do_resume(validator: T::AccountId) -> DispatchResult {
        let bond = Bonds::<T>::get(&validator).ok_or(Error::<T>::NotBonded)?;
        ensure!(bond.absent, Error::<T>::NotAbsent);
        Bonds::<T>::insert(&validator, Bond { absent: false, ..bond });
        Self::deposit_event(Event::Returned { validator });
        Ok(())
    }

    /// Of those who may be chosen, in the order of being chosen and each with whether it is absent, those who are:
    /// all, but for as many of the absent, those of least votes first, as have no more than
    /// [`ABSENT_VOTES_PERCENT_MAX`] of the votes that would be chosen, and leave [`VALIDATORS_LEAST`].
    pub(crate) fn without_absent(candidates: Vec<(bool, ValidatorInfo)>) -> Vec<ValidatorInfo> {
        let would_be = candidates.iter().take(VALIDATORS_MAX as usize);
        let votes = would_be.fold(0u128, |sum, (_, info)| sum.saturating_add(info.power.into()));
        let mut spared = votes.saturating_mul(ABSENT_VOTES_PERCENT_MAX) / 100;
        let mut left = candidates.len();
        let stays = |(absent, info): (bool, ValidatorInfo)| {
            let votes = u128::from(info.power);
            if !absent || votes > spared || left <= VALIDATORS_LEAST {
                return Some(info);
            }
            (spared, left) = (spared.saturating_sub(votes), left.saturating_sub(1));
            None
        };
        let mut chosen: Vec<_> = candidates.into_iter().rev().filter_map(stays).collect();
        chosen.reverse();
        chosen
    }

    /// Who has signed what since the session began.
    pub fn attendance() -> Attended {
        attended(&Deciders::<T>::get(), &Attending::<T>::get())
    }

    /// Everybody who decides is counted, and nobody has signed more than there was.
    pub(crate) fn attendance_is_whole() -> Result<(), &'static str> {
        let attendance = Attending::<T>::get();
        if attendance.signed.len() != Deciders::<T>::decode_len().unwrap_or(0) {
            return Err("a validator's signatures are not counted, or those of nobody are");
        }
        if attendance.signed.iter().any(|signed| *signed > attendance.commits) {
            return Err("a validator has signed more commits than there were");
        }
        Ok(())
    }
}

impl Attendance {
    fn count(&mut self, commit: &LastCommit) {
        self.commits = self.commits.saturating_add(1);
        for (signed, signature) in self.signed.iter_mut().zip(&commit.signatures) {
            *signed = signed.saturating_add(signature.is_some().into());
        }
    }
}

fn attended(deciders: &[Validator], attendance: &Attendance) -> Attended {
    let signed = deciders.iter().zip(&attendance.signed).map(|(validator, signed)| (validator.key, *signed));
    Attended { commits: attendance.commits, signed: BoundedVec::truncate_from(signed.collect()) }
}
