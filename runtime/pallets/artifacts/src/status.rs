//! What accounts say later of their own claims and keys.

use assay_manifest::log::{LogAppend, StatusEntry};
use assay_manifest::status::{Reason, Status, StatusKind, StatusSubject};
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::traits::fungible::MutateHold;
use sp_runtime::SaturatedConversion;

use crate::{Config, Edges, Error, Event, HoldReason, Pallet, Registrations, StatedStatus, Statuses};

impl<T: Config> Pallet<T> {
    /// A key needs no check: what an account says of a key concerns the account's own use of it alone.
    pub(crate) fn do_state_status(who: T::AccountId, status: Status) -> DispatchResult {
        let Status { subject, kind, reason } = status;
        ensure!(status.check().is_ok() && kind != StatusKind::Withdrawn, Error::<T>::BadStatus);
        let at = frame_system::Pallet::<T>::block_number();
        if let StatusKind::CompromisedSince { height } = kind {
            ensure!(at >= height.into(), Error::<T>::BadStatus);
        }
        Self::ensure_own(&who, &subject)?;
        let before = Statuses::<T>::get(subject, &who);
        let same = before.is_some_and(|before| (before.kind, before.reason) == (kind, reason));
        ensure!(!same, Error::<T>::SameStatus);
        let deposit = match before {
            Some(before) => before.deposit,
            None => {
                let deposit = Self::deposit(0);
                T::Currency::hold(&HoldReason::Registration.into(), &who, deposit)?;
                deposit
            }
        };
        let log_index = Self::log_status(&who, status);
        Statuses::<T>::insert(subject, &who, StatedStatus { kind, reason, deposit, at, log_index });
        Self::deposit_event(Event::StatusStated { status, account: who, log_index });
        Ok(())
    }

    /// Logs that a claim has left the state; what was said of it before stands.
    pub(crate) fn log_withdrawal(who: &T::AccountId, subject: StatusSubject) -> u64 {
        let (kind, reason) = (StatusKind::Withdrawn, Reason::Unspecified);
        Self::log_status(who, Status { subject, kind, reason })
    }

    fn log_status(who: &T::AccountId, status: Status) -> u64 {
        let height = frame_system::Pallet::<T>::block_number().saturated_into();
        T::Log::append(&StatusEntry { account: who.clone().into(), height, status }.to_bytes())
    }

    fn ensure_own(who: &T::AccountId, subject: &StatusSubject) -> Result<(), Error<T>> {
        match subject {
            StatusSubject::Artifact(id) => {
                ensure!(Registrations::<T>::contains_key(id, who), Error::<T>::NotRegistered);
            }
            StatusSubject::Edge { child, id } => {
                let key = Self::edge_key(id, who);
                ensure!(Edges::<T>::contains_key(child, key), Error::<T>::NoSuchEdge);
            }
            StatusSubject::Key(_) => {}
        }
        Ok(())
    }
}
