//! Data that is asked for, posted and complained of on the ledger (clauses J12 and J13).

use assay_manifest::{Digest32, JobId};
use assay_protocol::job::{Input, Job, Package as Found, Party, Seat};
use assay_protocol::party::Role;
use assay_protocol::seal::{Content, Delivery, SealingSecret, can_be_sealed_to, package_hash};
use assay_protocol::signature::{SeatStep, Signature};
use codec::Encode;
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::pallet_prelude::{InvalidTransaction, TransactionValidityWithRefund};

use crate::steps::valid;
use crate::{Config, Error, Event, Jobs, Package, Packages, Pallet};

impl<T: Config> Pallet<T> {
    /// What a seat's claim for data means to the machine.
    pub(crate) fn need_input(party: Party, key: Digest32) -> Result<Input, Error<T>> {
        // With a key of small order nobody could seal, and nobody could be blamed for it.
        if can_be_sealed_to(&key) { Ok(Input::Need { party, key }) } else { Err(Error::<T>::BadKey) }
    }

    /// What a secret that a party shows makes of its package.
    pub(crate) fn complaint_input(job: &Job, party: Party, secret: &Digest32) -> Result<Input, Error<T>> {
        let secret = Self::shown_secret(job, party, secret)?;
        let package = Packages::<T>::get(job.id, party).ok_or(Error::<T>::Refused)?;
        let good = Self::delivery(job, party).is_some_and(|owed| owed.judge(&package, &secret).is_ok());
        Ok(Input::Complain { party, package: if good { Found::Good } else { Found::Bad } })
    }

    /// A complaint as the pool asks about it: good or bad, it changes the job, so that the package is opened once,
    /// in the block.
    pub(crate) fn unopened_complaint(job: &Job, party: Party, secret: &Digest32) -> Result<Input, Error<T>> {
        Self::shown_secret(job, party, secret)?;
        Ok(Input::Complain { party, package: Found::Good })
    }

    /// The secret, if it is the one of the key to which the party's package is sealed.
    fn shown_secret(job: &Job, party: Party, secret: &Digest32) -> Result<SealingSecret, Error<T>> {
        let need = job.need(party).ok_or(Error::<T>::Refused)?;
        let secret = SealingSecret::from_bytes(*secret.as_bytes());
        if secret.public() == need.key { Ok(secret) } else { Err(Error::<T>::Refused) }
    }

    /// What a party is owed, and by whom.
    fn delivery(job: &Job, party: Party) -> Option<Delivery<'_>> {
        let executor = job.answerer();
        let (sender, recipient, seat, content) = match party {
            Party::Seat(index) => {
                let seat = job.seats.iter().find(|seat| seat.index == index)?;
                match (seat.role, &job.claim) {
                    (Role::Executor, _) => (job.requester, seat.provider, index, Content::Input(&job.record)),
                    (Role::Verifier | Role::AtLarge, Some(claim)) => {
                        (executor?.provider, seat.provider, index, Content::Work(&job.record, claim))
                    }
                    (Role::Verifier | Role::AtLarge, None) => return None,
                }
            }
            Party::Requester => {
                let executor = executor?;
                let content = Content::Answer(job.claim.as_ref()?);
                (executor.provider, job.requester, executor.index, content)
            }
        };
        Some(Delivery { genesis: job.genesis, job: job.id, sender, recipient, seat, content })
    }

    pub(crate) fn authorize_post(
        id: &JobId,
        party: Party,
        package: &Package,
        signature: &Signature,
    ) -> TransactionValidityWithRefund {
        Self::signed_post(id, party, package, signature)
            .and_then(|(job, input)| Self::transition(&job, input))
            .map_err(|_| InvalidTransaction::Stale)?;
        valid(("assay/post", id, party).encode())
    }

    pub(crate) fn do_post(id: JobId, party: Party, package: Package, signature: Signature) -> DispatchResult {
        let (job, input) = Self::signed_post(&id, party, &package, &signature)?;
        Self::keep_package(&job, party, input, package)
    }

    /// The executor answers to everybody but itself.
    fn signed_post(
        id: &JobId,
        party: Party,
        package: &Package,
        signature: &Signature,
    ) -> Result<(Job, Input), Error<T>> {
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        let executor = job.answerer().ok_or(Error::<T>::Refused)?;
        let step = SeatStep::Post { party, package_hash: package_hash(package) };
        let digest = step.digest(&job.genesis, id, executor.round, executor.index);
        if party == Party::Seat(executor.index) || !signature.verifies(&executor.work_key, &digest) {
            return Err(Error::<T>::Refused);
        }
        Ok((job, post(party, package)))
    }

    pub(crate) fn do_post_input(who: T::AccountId, id: JobId, seat: u8, package: Package) -> DispatchResult {
        let job = Self::job_of(&who, &id)?;
        let is_executor = |other: &Seat| other.index == seat && other.role == Role::Executor;
        ensure!(job.round_seats().any(is_executor), Error::<T>::Refused);
        let party = Party::Seat(seat);
        Self::keep_package(&job, party, post(party, &package), package)
    }

    fn keep_package(job: &Job, party: Party, input: Input, package: Package) -> DispatchResult {
        Packages::<T>::insert(job.id, party, package);
        Self::apply(job, input)
    }

    pub(crate) fn do_need_answer(who: T::AccountId, id: JobId, key: Digest32) -> DispatchResult {
        let job = Self::job_of(&who, &id)?;
        Self::apply(&job, Self::need_input(Party::Requester, key)?)
    }

    pub(crate) fn do_complain_of_answer(who: T::AccountId, id: JobId, secret: Digest32) -> DispatchResult {
        let job = Self::job_of(&who, &id)?;
        Self::apply(&job, Self::complaint_input(&job, Party::Requester, &secret)?)
    }

    pub(crate) fn do_challenge(who: T::AccountId, id: JobId) -> DispatchResult {
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        // Nobody could decide it.
        ensure!(!Self::is_suspended(&job.record.spec_id), Error::<T>::SpecSuspended);
        let deposit = job.quote.referee_cost.get();
        Self::apply(&job, Input::Challenge { challenger: who.clone().into() })?;
        Self::deposit_event(Event::Challenged { job: id, challenger: who, deposit });
        Ok(())
    }

    fn job_of(who: &T::AccountId, id: &JobId) -> Result<Job, Error<T>> {
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        if T::AccountId::from(job.requester) == *who { Ok(job) } else { Err(Error::<T>::NotRequester) }
    }
}

fn post(party: Party, package: &Package) -> Input {
    Input::Post { party, bytes: u32::try_from(package.len()).unwrap_or(u32::MAX) }
}
