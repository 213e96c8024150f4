//! Deadlines: a bounded queue a height, and what happens when one comes.

use assay_manifest::JobId;
use assay_protocol::job::{Input, Job, Phase};
use frame_support::storage::with_storage_layer;
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::DispatchError;

use crate::{
    AtHand, Beacon, Config, Contested, Due, DueAt, Error, Event, Jobs, Pallet, ProviderBook, Waiting,
};

/// Heights after a full one that are tried before `poke` must do it.
const QUEUE_TRIES: u32 = 8;

impl<T: Config> Pallet<T> {
    /// Puts the job into the queue of its next deadline, or of the first height after it that has room, and takes it
    /// out of the one in which it stood.
    ///
    /// # Errors
    /// [`Error::QueueFull`] when all that are tried are full.
    pub(crate) fn schedule(job: &Job) -> Result<(), Error<T>> {
        Self::unschedule(job.id);
        let Some(due) = job.due() else { return Ok(()) };
        let first = due.max(Self::now().plus(assay_protocol::units::Height::new(1)).unwrap_or(due));
        for offset in 0..QUEUE_TRIES {
            let height: BlockNumberFor<T> = first.get().saturating_add(offset).into();
            if Due::<T>::try_mutate(height, |queue| queue.try_push(job.id)).is_ok() {
                DueAt::<T>::insert(job.id, height);
                return Ok(());
            }
        }
        Err(Error::<T>::QueueFull)
    }

    /// What has moved on must not take the place of what has not.
    fn unschedule(id: JobId) {
        let Some(height) = DueAt::<T>::take(id) else { return };
        Due::<T>::mutate_exists(height, |queue| {
            *queue = queue.take().filter(|ids| ids.as_slice() != [id]);
            if let Some(ids) = queue {
                ids.retain(|other| *other != id);
            }
        });
    }

    /// Advances every job that is due; answers how many there were.
    pub(crate) fn advance_due(now: BlockNumberFor<T>) -> u32 {
        let mut count = 0u32;
        for id in Due::<T>::take(now) {
            count = count.saturating_add(1);
            DueAt::<T>::remove(id);
            // Each job in a layer of its own: one that fails must not hold up the others.
            if with_storage_layer(|| Self::advance(id)).is_err() {
                Waiting::<T>::insert(id, ());
                Self::deposit_event(Event::Stuck { job: id });
            }
        }
        count
    }

    /// The jobs in which something may be at hand for these accounts, those that wait for a poke, and, for a
    /// validator, those that are contested.
    pub fn at_hand(accounts: &[T::AccountId], validator: bool) -> Vec<Job> {
        let mut ids: Vec<JobId> =
            accounts.iter().flat_map(AtHand::<T>::iter_key_prefix).chain(Waiting::<T>::iter_keys()).collect();
        if validator {
            ids.extend(Contested::<T>::iter_keys());
        }
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(Jobs::<T>::get).collect()
    }

    /// A page of the jobs that are not closed, after this one.
    pub fn page(after: Option<JobId>, limit: u32) -> Vec<Job> {
        let jobs = match after {
            Some(after) => Jobs::<T>::iter_from(Jobs::<T>::hashed_key_for(after)),
            None => Jobs::<T>::iter(),
        };
        jobs.take(limit.try_into().unwrap_or(usize::MAX)).map(|(_, job)| job).collect()
    }

    /// The automatic step of a job: its draw, or its deadline.
    pub(crate) fn advance(id: JobId) -> Result<(), DispatchError> {
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        let due = job.due().ok_or(Error::<T>::NotDue)?;
        if due > Self::now() {
            return Err(Error::<T>::NotDue.into());
        }
        Self::apply(&job, Self::automatic(&job)?)
    }

    /// What the ledger does by itself with a job that is due.
    pub(crate) fn automatic(job: &Job) -> Result<Input, Error<T>> {
        if job.is_answer_overdue(Self::now()) {
            return Ok(Input::Deadline);
        }
        if job.is_contested() && Self::puts_off(&job.record.spec_id) {
            return Ok(Input::PutOff);
        }
        if job.draws_at(Self::now()).is_none() {
            return Ok(Input::Deadline);
        }
        let record = &job.record;
        let mut contenders = T::Providers::contenders(&record.model_id, &record.spec_id);
        if let (Some(weights_bytes), Phase::Committed { .. }) = (record.policy.at_large(), job.phase) {
            contenders.extend(T::Providers::contenders_at_large(
                &record.model_id,
                &record.spec_id,
                weights_bytes,
            ));
        }
        Ok(Input::Draw {
            randomness: T::Beacon::randomness_at(Self::now().get()).ok_or(Error::<T>::NotDue)?,
            contenders,
            total_stake: T::Providers::total_stake(),
        })
    }
}
