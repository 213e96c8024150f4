//! Taking a request: checks, escrow, first deadline.

use assay_manifest::Digest32;
use assay_protocol::fees::{self, Quote};
use assay_protocol::job::{Contender, Job};
use assay_protocol::params::{PACKAGE_BYTES_MAX, PACKAGE_OVERHEAD_BYTES, Params, TOKENS_MAX};
use assay_protocol::party::{AccountBytes, Role};
use assay_protocol::record::{Class, PROTOCOL_VERSION, PublicRecord};
use assay_protocol::units::Height;
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::traits::fungible::MutateHold;
use sp_runtime::SaturatedConversion;
use sp_runtime::traits::Zero;

use crate::{Config, Error, Event, HoldReason, Jobs, NextNonce, Pallet, Parameters, ProviderBook, Referees};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_request(who: T::AccountId, nonce: u64, record: PublicRecord) -> DispatchResult {
        ensure!(nonce == NextNonce::<T>::get(&who), Error::<T>::WrongNonce);
        let params = Self::params();
        Self::check_record(&record, &params)?;
        let requester: AccountBytes = who.clone().into();
        let quote = Self::quote(&record)?;
        ensure!(quote.job_fee >= params.job_fee_min, Error::<T>::FeeTooSmall);
        Self::check_market(&record, &quote, &requester)?;
        let job = Job::new(Self::genesis(), requester, nonce, record, quote, (Self::now(), &params))
            .map_err(|_| Error::<T>::OutOfRange)?;
        let escrow = quote.escrow.get();
        T::Currency::hold(&HoldReason::Escrow.into(), &who, escrow)?;
        NextNonce::<T>::insert(&who, nonce.saturating_add(1));
        Self::schedule(&job)?;
        let id = job.id;
        Jobs::<T>::insert(id, job);
        Self::deposit_event(Event::Requested { job: id, requester: who, escrow });
        Ok(())
    }

    fn check_record(record: &PublicRecord, params: &Params) -> DispatchResult {
        ensure!(is_supported(record), Error::<T>::Unsupported);
        ensure!(!Self::is_annulled(&record.spec_id), Error::<T>::SpecSuspended);
        ensure!(Self::has_eyes_for_a_dispute(record), Error::<T>::TooFewEyes);
        ensure!(record.policy.is_allowed(), Error::<T>::OutOfRange);
        ensure!(record.n_in.get() > 0 && record.n_max.get() > 0, Error::<T>::OutOfRange);
        let tokens = record.n_in.plus(record.n_max).map_err(|_| Error::<T>::OutOfRange)?;
        ensure!(tokens.get() <= TOKENS_MAX, Error::<T>::OutOfRange);
        // J12: what a verifier lacks must fit into one package.
        let answer_bytes = record.n_max.get().saturating_mul(4).saturating_add(PACKAGE_OVERHEAD_BYTES);
        ensure!(answer_bytes <= PACKAGE_BYTES_MAX, Error::<T>::OutOfRange);
        // Whoever is paid for the prompt may be asked to verify it: a cap under that price would leave the
        // draw of verifiers to those who work for nothing.
        ensure!(record.prices.verify_max >= record.prices.input, Error::<T>::VerifyCapTooSmall);
        let windows = params.execute_window(record.n_in, record.n_max).is_ok()
            && params.verify_window(record.n_in, record.n_max).is_ok();
        ensure!(windows, Error::<T>::OutOfRange);
        ensure!(record.valid_until >= Self::now(), Error::<T>::Stale);
        Ok(())
    }

    /// A dispute shows the input to every seat and every validator: a request that forbids it could be answered
    /// with lies for nothing.
    fn has_eyes_for_a_dispute(record: &PublicRecord) -> bool {
        let needed =
            u32::from(record.policy.verifiers()).saturating_add(1).saturating_add(T::Referees::count());
        record.max_eyes == 0 || u32::from(record.max_eyes) >= needed
    }

    /// A request that could not be seated now is refused instead of taking escrow for nothing.
    fn check_market(record: &PublicRecord, quote: &Quote, requester: &AccountBytes) -> DispatchResult {
        let contenders = T::Providers::contenders(&record.model_id, &record.spec_id);
        let is_other = |contender: &&Contender| contender.candidate.provider != *requester;
        let others: Vec<&Contender> = contenders.iter().filter(is_other).collect();
        let executors = others.iter().filter(|c| {
            let chosen = record.direct_executor.is_none_or(|chosen| chosen == c.candidate.provider);
            chosen && c.fits(Role::Executor, &record.prices, quote.bond)
        });
        ensure!(executors.count() > 0, Error::<T>::NoProvider);
        if let Some(weights_bytes) = record.policy.at_large() {
            let strangers =
                T::Providers::contenders_at_large(&record.model_id, &record.spec_id, weights_bytes);
            let fits = |c: &Contender| c.fits(Role::AtLarge, &record.prices, quote.bond);
            ensure!(strangers.iter().filter(is_other).any(fits), Error::<T>::NobodyAtLarge);
        }
        let verifiers = others.iter().filter(|c| c.fits(Role::Verifier, &record.prices, quote.bond)).count();
        // One of them may be drawn as the executor.
        ensure!(verifiers > usize::from(record.policy.serving_verifiers()), Error::<T>::TooFewVerifiers);
        Ok(())
    }

    /// The amounts that a request fixes at the chain's parameters.
    ///
    /// # Errors
    /// When prices or counts are absurd.
    pub fn quote(record: &PublicRecord) -> Result<Quote, Error<T>> {
        fees::quote(record, &Self::params(), T::Referees::count()).map_err(|_| Error::<T>::OutOfRange)
    }

    /// The chain's parameters.
    pub fn params() -> Params {
        Parameters::<T>::get().unwrap_or(Params::MAIN)
    }

    pub(crate) fn now() -> Height {
        Height::new(frame_system::Pallet::<T>::block_number().saturated_into())
    }

    /// The hash of block 0, which every signature of the protocol covers.
    pub fn genesis() -> Digest32 {
        let hash =
            frame_system::Pallet::<T>::block_hash(frame_system::pallet_prelude::BlockNumberFor::<T>::zero());
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(hash.as_ref()) {
            *to = *from;
        }
        Digest32::from_bytes(bytes)
    }
}

/// Whether the record asks for nothing but rules that are in force. In the tolerance class no honest engine of
/// today could take a seat (clause J9): it would be left to those who do not mean to work.
fn is_supported(record: &PublicRecord) -> bool {
    record.version == PROTOCOL_VERSION
        && record.class == Class::Exact
        && record.parent.is_none()
        && record.verified_range.is_none()
}
