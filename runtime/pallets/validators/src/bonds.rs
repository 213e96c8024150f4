//! Stake of validators: bonded, chosen by, unbonded, and taken.

use assay_manifest::Digest32;
use assay_protocol::seal::can_be_sealed_to;
use assay_protocol::signature::Signature;
use assay_protocol::vote::{Equivocation, verify_key_claim};
use codec::Encode;
use frame_support::dispatch::DispatchResult;
use frame_support::pallet_prelude::{
    InvalidTransaction, TransactionValidityWithRefund, ValidTransaction, Weight,
};
use frame_support::traits::Get;
use frame_support::traits::fungible::{InspectHold, MutateHold};
use frame_support::traits::tokens::{Fortitude, Precision};
use frame_support::{BoundedVec, ensure};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::traits::{SaturatedConversion, Saturating, Zero};

use crate::pallet::VALIDATORS_MAX;
use crate::{Bond, Bonds, Config, Error, Event, HoldReason, KeyOwners, Pallet, Unbonding};
use crate::{ValidatorInfo, ValidatorKeys, Validators};

/// Accounts that may have a bond at the same time; bounds the work of choosing.
pub const BONDS_MAX: u32 = 256;
/// Per cent of all that is bonded and unbonding, which a validator loses that voted for two things in one round. The
/// rest goes back to it: who has merely run its keys twice is not ruined, and with a third of all power doing so the
/// loss is a sixth of all stake.
pub const EQUIVOCATION_BURNED_PERCENT: u128 = 50;
/// Whole sessions from a first bond to the first height at which it may be chosen.
const SESSIONS_AHEAD: u32 = 2;
/// Above every paid call.
const CONVICTION_PRIORITY: u64 = 1 << 62;
/// Blocks for which a pool keeps a proof before it asks again.
const CONVICTION_LONGEVITY: u64 = 64;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_bond(
        who: T::AccountId,
        amount: u128,
        keys: ValidatorKeys,
        proof: &Signature,
    ) -> DispatchResult {
        let bond = match Bonds::<T>::get(&who) {
            Some(bond) => {
                ensure!(bond.keys == keys, Error::<T>::OtherKeys);
                ensure!(!bond.convicted, Error::<T>::Convicted);
                bond
            }
            None => Self::first_bond(&who, keys, proof)?,
        };
        ensure!(amount > 0, Error::<T>::StakeTooSmall);
        let stake = bond.stake.checked_add(amount).ok_or(Error::<T>::OutOfRange)?;
        ensure!(stake >= T::Params::get().validator_stake_min.get(), Error::<T>::StakeTooSmall);
        T::Currency::hold(&HoldReason::Validator.into(), &who, amount)?;
        KeyOwners::<T>::insert(keys.key, &who);
        Self::deposit_event(Event::Bonded { validator: who.clone(), amount, stake, from: bond.from });
        Bonds::<T>::insert(who, Bond { stake, ..bond });
        Ok(())
    }

    fn first_bond(
        who: &T::AccountId,
        keys: ValidatorKeys,
        proof: &Signature,
    ) -> Result<Bond<BlockNumberFor<T>>, Error<T>> {
        ensure!(Bonds::<T>::count() < BONDS_MAX, Error::<T>::TooManyValidators);
        ensure!(!KeyOwners::<T>::contains_key(keys.key), Error::<T>::KeyTaken);
        ensure!(can_be_sealed_to(&keys.encryption_key), Error::<T>::BadKey);
        let account: [u8; 32] = *who.as_ref();
        ensure!(verify_key_claim(&T::Genesis::get(), &account, &keys.key, proof), Error::<T>::BadProof);
        let length: BlockNumberFor<T> = T::Params::get().session_length.into();
        let session = frame_system::Pallet::<T>::block_number() / length;
        let from = session.saturating_add((SESSIONS_AHEAD + 1).into()).saturating_mul(length);
        Ok(Bond { stake: 0, keys, from, convicted: false, unbonding: BoundedVec::default() })
    }

    pub(crate) fn do_unbond(who: T::AccountId, amount: u128) -> DispatchResult {
        let mut bond = Bonds::<T>::get(&who).ok_or(Error::<T>::NotBonded)?;
        let left = bond.stake.checked_sub(amount).ok_or(Error::<T>::NotBonded)?;
        ensure!(amount > 0, Error::<T>::NotBonded);
        let params = T::Params::get();
        ensure!(left == 0 || left >= params.validator_stake_min.get(), Error::<T>::StakeTooSmall);
        let window: BlockNumberFor<T> = params.validator_unbonding_window.into();
        let release_at = frame_system::Pallet::<T>::block_number().saturating_add(window);
        let part = Unbonding { amount, release_at };
        bond.unbonding.try_push(part).map_err(|_| Error::<T>::TooManyUnbonding)?;
        bond.stake = left;
        Bonds::<T>::insert(&who, bond);
        Self::deposit_event(Event::Unbonded { validator: who, amount, release_at });
        Ok(())
    }

    pub(crate) fn do_withdraw(who: T::AccountId) -> DispatchResult {
        let mut bond = Bonds::<T>::get(&who).ok_or(Error::<T>::NotBonded)?;
        let now = frame_system::Pallet::<T>::block_number();
        let ready = bond.unbonding.iter().filter(|part| part.release_at <= now);
        let amount = ready.fold(0u128, |sum, part| sum.saturating_add(part.amount));
        ensure!(amount > 0, Error::<T>::NothingToWithdraw);
        bond.unbonding.retain(|part| part.release_at > now);
        T::Currency::release(&HoldReason::Validator.into(), &who, amount, Precision::Exact)?;
        if bond.stake == 0 && bond.unbonding.is_empty() && !bond.convicted && !Self::is_chosen(&bond.keys.key)
        {
            KeyOwners::<T>::remove(bond.keys.key);
            Bonds::<T>::remove(&who);
        } else {
            Bonds::<T>::insert(&who, bond);
        }
        Self::deposit_event(Event::Withdrawn { validator: who, amount });
        Ok(())
    }

    fn is_chosen(key: &Digest32) -> bool {
        Validators::<T>::get().iter().any(|validator| validator.key == *key)
    }

    pub(crate) fn authorize_conviction(proof: &Equivocation) -> TransactionValidityWithRefund {
        Self::convictable(proof).map_err(|_| InvalidTransaction::Stale)?;
        let validity = ValidTransaction {
            priority: CONVICTION_PRIORITY,
            requires: Vec::new(),
            provides: vec![("assay/conviction", proof.validator).encode()],
            longevity: CONVICTION_LONGEVITY,
            propagate: true,
        };
        Ok((validity, Weight::zero()))
    }

    /// The account that a proof convicts.
    fn convictable(proof: &Equivocation) -> Result<T::AccountId, Error<T>> {
        let who = KeyOwners::<T>::get(proof.validator).ok_or(Error::<T>::NotBonded)?;
        let bond = Bonds::<T>::get(&who).ok_or(Error::<T>::NotBonded)?;
        ensure!(!bond.convicted, Error::<T>::Convicted);
        let now: u32 = frame_system::Pallet::<T>::block_number().saturated_into();
        let window = T::Params::get().validator_unbonding_window;
        // A vote for a height that is not decided is no less a vote.
        ensure!(proof.height.get().saturating_add(window) >= now, Error::<T>::TooOld);
        ensure!(proof.verify(&T::Genesis::get()).is_ok(), Error::<T>::BadProof);
        Ok(who)
    }

    pub(crate) fn do_convict(proof: &Equivocation) -> DispatchResult {
        let who = Self::convictable(proof)?;
        let mut bond = Bonds::<T>::get(&who).ok_or(Error::<T>::NotBonded)?;
        let share = |amount: u128| amount.saturating_mul(EQUIVOCATION_BURNED_PERCENT) / 100;
        let mut burned = share(bond.stake);
        bond.stake = bond.stake.saturating_sub(burned);
        for part in &mut bond.unbonding {
            let lost = share(part.amount);
            part.amount = part.amount.saturating_sub(lost);
            burned = burned.saturating_add(lost);
        }
        bond.convicted = true;
        Bonds::<T>::insert(&who, bond);
        let reason = HoldReason::Validator.into();
        T::Currency::burn_held(&reason, &who, burned, Precision::Exact, Fortitude::Force)?;
        Validators::<T>::mutate(|validators| {
            // A chain whose only validator lies is lost, but it must be able to say so.
            if validators.len() > 1 {
                validators.retain(|validator| validator.key != proof.validator);
            }
        });
        Self::deposit_event(Event::Convicted { validator: who, height: proof.height, burned });
        Ok(())
    }

    /// The bond of a validator of the first block, whose account has its stake.
    pub(crate) fn found(validator: &ValidatorInfo) {
        let ValidatorInfo { account, key, vrf_key, encryption_key, power } = validator.clone();
        let stake = u128::from(power).saturating_mul(T::StakePerVote::get());
        let held = T::Currency::hold(&HoldReason::Validator.into(), &account, stake);
        debug_assert!(held.is_ok(), "the genesis endows its validators: {held:?}");
        let keys = ValidatorKeys { key, vrf_key, encryption_key };
        let (from, unbonding) = (Zero::zero(), BoundedVec::default());
        KeyOwners::<T>::insert(key, &account);
        Bonds::<T>::insert(account, Bond { stake, keys, from, convicted: false, unbonding });
    }

    /// Whether validators are chosen at the end of this block: a session begins with the next.
    pub(crate) fn chooses(now: BlockNumberFor<T>) -> bool {
        let length: BlockNumberFor<T> = T::Params::get().session_length.into();
        (now.saturating_add(1u32.into()) % length).is_zero()
    }

    /// Chooses the validators of the next height: those of most stake.
    pub(crate) fn choose(now: BlockNumberFor<T>) {
        let next = now.saturating_add(1u32.into());
        let mut chosen: Vec<ValidatorInfo> = Bonds::<T>::iter()
            .filter(|(_, bond)| bond.from <= next && !bond.convicted)
            .map(|(account, bond)| Self::info(account, &bond))
            .filter(|info| info.power > 0)
            .collect();
        // Of equal stake, the lower key: every node chooses the same.
        chosen.sort_by_key(|info| (core::cmp::Reverse(info.power), info.key));
        chosen.truncate(VALIDATORS_MAX as usize);
        chosen.sort_by_key(|info| info.key);
        // Nobody who leaves last leaves a chain without a validator.
        if !chosen.is_empty() && *Validators::<T>::get() != chosen {
            Validators::<T>::put(BoundedVec::truncate_from(chosen));
            Self::deposit_event(Event::Chosen { from: next });
        }
    }

    fn info(account: T::AccountId, bond: &Bond<BlockNumberFor<T>>) -> ValidatorInfo {
        let ValidatorKeys { key, vrf_key, encryption_key } = bond.keys;
        let power = bond.stake.checked_div(T::StakePerVote::get()).unwrap_or(0);
        ValidatorInfo { account, key, vrf_key, encryption_key, power: power.saturated_into() }
    }

    /// All that is held: bonded, and unbonding.
    pub fn held() -> u128 {
        Bonds::<T>::iter_values().map(|bond| Self::of_bond(&bond)).fold(0, u128::saturating_add)
    }

    fn of_bond(bond: &Bond<BlockNumberFor<T>>) -> u128 {
        bond.unbonding.iter().fold(bond.stake, |sum, part| sum.saturating_add(part.amount))
    }

    /// Bonds equal holds, and every key has the owner that has its bond.
    pub(crate) fn bonds_are_held() -> Result<(), &'static str> {
        for (who, bond) in Bonds::<T>::iter() {
            if T::Currency::balance_on_hold(&HoldReason::Validator.into(), &who) != Self::of_bond(&bond) {
                return Err("a validator's bond differs from its hold");
            }
            if KeyOwners::<T>::get(bond.keys.key) != Some(who) {
                return Err("a validator's key is not its own");
            }
        }
        if KeyOwners::<T>::iter_keys().count() == Bonds::<T>::iter_keys().count() {
            Ok(())
        } else {
            Err("a validator's key has no bond")
        }
    }
}
