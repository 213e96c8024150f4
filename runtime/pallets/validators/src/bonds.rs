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
use crate::{Bond, Bonds, Config, ConvictedKeys, Error, Event, HoldReason, KeyOwners, Pallet, Slots};
use crate::{Unbonding, ValidatorInfo, ValidatorKeys, Validators};

/// Accounts that may have stake bonded at the same time; bounds the work of choosing. More than twice as many as are
/// chosen, so that who waits to be has a place.
pub const BONDS_MAX: u32 = 256;
const _: () = assert!(BONDS_MAX > 2 * VALIDATORS_MAX);
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
        if !Slots::<T>::contains_key(&who) {
            Self::take_slot(&who, stake)?;
        }
        KeyOwners::<T>::insert(keys.key, &who);
        Self::deposit_event(Event::Bonded { validator: who.clone(), amount, stake, from: bond.from });
        // Whoever adds stake means to take part.
        Bonds::<T>::insert(who, Bond { stake, absent: false, ..bond });
        Ok(())
    }

    fn first_bond(
        who: &T::AccountId,
        keys: ValidatorKeys,
        proof: &Signature,
    ) -> Result<Bond<BlockNumberFor<T>>, Error<T>> {
        ensure!(!ConvictedKeys::<T>::contains_key(keys.key), Error::<T>::Convicted);
        ensure!(!KeyOwners::<T>::contains_key(keys.key), Error::<T>::KeyTaken);
        ensure!(can_be_sealed_to(&keys.encryption_key), Error::<T>::BadKey);
        let account: [u8; 32] = *who.as_ref();
        ensure!(verify_key_claim(&T::Genesis::get(), &account, &keys.key, proof), Error::<T>::BadProof);
        let length: BlockNumberFor<T> = T::Params::get().session_length.into();
        let session = frame_system::Pallet::<T>::block_number() / length;
        let from = session.saturating_add((SESSIONS_AHEAD + 1).into()).saturating_mul(length);
        Ok(Bond { stake: 0, keys, from, convicted: false, absent: false, unbonding: BoundedVec::default() })
    }

    /// A place among those of whom validators are chosen. When all are taken, that of the least stake which is not
    /// chosen, if this is more: nobody keeps others out with stake that decides nothing.
    fn take_slot(who: &T::AccountId, stake: u128) -> DispatchResult {
        if Slots::<T>::count() >= BONDS_MAX {
            let validators = Validators::<T>::get();
            let decides = |key: &Digest32| validators.iter().any(|validator| validator.key == *key);
            let waiting = Self::bonded().filter(|(_, bond)| !decides(&bond.keys.key));
            let least = waiting.min_by_key(|(_, bond)| (bond.stake, bond.keys.key));
            let (other, bond) =
                least.filter(|(_, bond)| bond.stake < stake).ok_or(Error::<T>::TooManyValidators)?;
            Self::displace(other, bond);
        }
        Slots::<T>::insert(who, ());
        Ok(())
    }

    /// Unbonds all that an account has bonded, as if it had itself.
    fn displace(who: T::AccountId, mut bond: Bond<BlockNumberFor<T>>) {
        let amount = core::mem::take(&mut bond.stake);
        let release_at = Self::release_at();
        // It did not ask for another portion, and must not be spared for having too many: the last waits with it.
        if bond.unbonding.try_push(Unbonding { amount, release_at }).is_err()
            && let Some(last) = bond.unbonding.last_mut()
        {
            *last = Unbonding { amount: last.amount.saturating_add(amount), release_at };
        }
        Self::leave_slot(&who);
        Bonds::<T>::insert(&who, bond);
        Self::deposit_event(Event::Unbonded { validator: who, amount, release_at });
    }

    pub(crate) fn do_unbond(who: T::AccountId, amount: u128) -> DispatchResult {
        let mut bond = Bonds::<T>::get(&who).ok_or(Error::<T>::NotBonded)?;
        let left = bond.stake.checked_sub(amount).ok_or(Error::<T>::NotBonded)?;
        ensure!(amount > 0, Error::<T>::NotBonded);
        let least = T::Params::get().validator_stake_min.get();
        ensure!(left == 0 || left >= least, Error::<T>::StakeTooSmall);
        let release_at = Self::release_at();
        let part = Unbonding { amount, release_at };
        bond.unbonding.try_push(part).map_err(|_| Error::<T>::TooManyUnbonding)?;
        bond.stake = left;
        if left == 0 {
            Self::leave_slot(&who);
        }
        Bonds::<T>::insert(&who, bond);
        Self::deposit_event(Event::Unbonded { validator: who, amount, release_at });
        Ok(())
    }

    /// When stake is released that begins to unbond now.
    fn release_at() -> BlockNumberFor<T> {
        let window: BlockNumberFor<T> = T::Params::get().validator_unbonding_window.into();
        frame_system::Pallet::<T>::block_number().saturating_add(window)
    }

    pub(crate) fn do_withdraw(who: T::AccountId) -> DispatchResult {
        let mut bond = Bonds::<T>::get(&who).ok_or(Error::<T>::NotBonded)?;
        let now = frame_system::Pallet::<T>::block_number();
        let ready = bond.unbonding.iter().filter(|part| part.release_at <= now);
        let amount = ready.fold(0u128, |sum, part| sum.saturating_add(part.amount));
        ensure!(amount > 0, Error::<T>::NothingToWithdraw);
        bond.unbonding.retain(|part| part.release_at > now);
        let left = Self::of_bond(&bond);
        ensure!(left >= Self::decided_with(&bond.keys.key), Error::<T>::StillDecides);
        T::Currency::release(&HoldReason::Validator.into(), &who, amount, Precision::Exact)?;
        if left == 0 {
            KeyOwners::<T>::remove(bond.keys.key);
            Bonds::<T>::remove(&who);
        } else {
            Bonds::<T>::insert(&who, bond);
        }
        Self::deposit_event(Event::Withdrawn { validator: who, amount });
        Ok(())
    }

    /// The stake behind the votes of a key that decides the next height, or 0. It may have begun to unbond long ago:
    /// where nobody else can be chosen, those before decide on.
    fn decided_with(key: &Digest32) -> u128 {
        let validators = Validators::<T>::get();
        let votes = validators.iter().find(|validator| validator.key == *key).map_or(0, |one| one.power);
        u128::from(votes).saturating_mul(T::StakePerVote::get())
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
        bond.absent = false;
        Bonds::<T>::insert(&who, bond);
        Self::leave_slot(&who);
        ConvictedKeys::<T>::insert(proof.validator, ());
        let reason = HoldReason::Validator.into();
        T::Currency::burn_held(&reason, &who, burned, Precision::Exact, Fortitude::Force)?;
        let mut validators = Validators::<T>::get();
        let others = validators.iter().filter(|validator| validator.key != proof.validator).count();
        // A chain whose only validator lies is lost, but it must be able to say so.
        if others > 0 && others < validators.len() {
            validators.retain(|validator| validator.key != proof.validator);
            Validators::<T>::put(validators);
        }
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
        Slots::<T>::insert(&account, ());
        let bond = Bond { stake, keys, from, convicted: false, absent: false, unbonding };
        Bonds::<T>::insert(account, bond);
    }

    /// Whether validators are chosen at the end of this block: a session begins with the next.
    pub(crate) fn chooses(now: BlockNumberFor<T>) -> bool {
        let length: BlockNumberFor<T> = T::Params::get().session_length.into();
        (now.saturating_add(1u32.into()) % length).is_zero()
    }

    /// Ends a session, and chooses the validators of the next height: those of most stake.
    pub(crate) fn choose(now: BlockNumberFor<T>) {
        let next = now.saturating_add(1u32.into());
        let mut bonded: Vec<_> = Self::bonded().collect();
        Self::end_session(&mut bonded);
        let mut candidates: Vec<(bool, ValidatorInfo)> = bonded
            .into_iter()
            .filter(|(_, bond)| bond.from <= next)
            .map(|(account, bond)| (bond.absent, Self::info(account, &bond)))
            .filter(|(_, info)| info.power > 0)
            .collect();
        // Of equal stake, the lower key: every node chooses the same.
        candidates.sort_by_key(|(_, info)| (core::cmp::Reverse(info.power), info.key));
        let mut chosen = Self::without_absent(candidates);
        chosen.truncate(VALIDATORS_MAX as usize);
        chosen.sort_by_key(|info| info.key);
        // Nobody who leaves last leaves a chain without a validator.
        if !chosen.is_empty() && *Validators::<T>::get() != chosen {
            Validators::<T>::put(BoundedVec::truncate_from(chosen));
            Self::deposit_event(Event::Chosen { from: next });
        }
    }

    /// Who has stake bonded and was not convicted.
    fn bonded() -> impl Iterator<Item = (T::AccountId, Bond<BlockNumberFor<T>>)> {
        Slots::<T>::iter_keys().filter_map(|who| Bonds::<T>::get(&who).map(|bond| (who, bond)))
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

    /// Bonds equal holds, every key has the owner that has its bond, and who has bonded a place.
    pub(crate) fn bonds_are_held() -> Result<(), &'static str> {
        for (who, bond) in Bonds::<T>::iter() {
            if T::Currency::balance_on_hold(&HoldReason::Validator.into(), &who) != Self::of_bond(&bond) {
                return Err("a validator's bond differs from its hold");
            }
            if bond.convicted != ConvictedKeys::<T>::contains_key(bond.keys.key) {
                return Err("a validator is convicted and its key is not, or the other way round");
            }
            if Slots::<T>::contains_key(&who) != (bond.stake > 0 && !bond.convicted) {
                return Err("a validator has stake bonded and no place, or a place for nothing");
            }
            if KeyOwners::<T>::get(bond.keys.key) != Some(who) {
                return Err("a validator's key is not its own");
            }
        }
        let bonds = Bonds::<T>::iter_keys().count();
        if KeyOwners::<T>::iter_keys().count() != bonds {
            return Err("a validator's key has no bond");
        }
        let taken = u32::try_from(Self::bonded().count()).unwrap_or(u32::MAX);
        if taken == Slots::<T>::count() && taken <= BONDS_MAX {
            Ok(())
        } else {
            Err("more places are taken than there are, or one without a bond")
        }
    }
}
