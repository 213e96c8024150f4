//! Registering and withdrawing artifacts.

use assay_manifest::ArtifactId;
use assay_manifest::log::{self, LogAppend, NO_LICENSE, Registration};
use assay_manifest::name::ArtifactName;
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::traits::Get;
use frame_support::traits::fungible::{InspectHold, MutateHold};
use frame_support::traits::tokens::Precision;
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::SaturatedConversion;
use std::collections::BTreeMap;

use crate::{
    Config, Edges, Error, Event, HoldReason, License, Models, Name, Names, Pallet, Registered, Registrations,
    Subject,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_register(
        who: T::AccountId,
        subject: Subject,
        size_bytes: u64,
        name: Name,
        license: License,
    ) -> DispatchResult {
        let artifact = subject.artifact();
        ensure!(!Registrations::<T>::contains_key(artifact, &who), Error::<T>::AlreadyRegistered);
        let parsed = parse_name::<T>(&name)?;
        let folded = fold::<T>(&parsed)?;
        ensure!(!Names::<T>::contains_key(&who, &folded), Error::<T>::NameTaken);
        let declared = core::str::from_utf8(&license).map_err(|_| Error::<T>::BadLicense)?;
        let entry = Registration {
            account: who.clone().into(),
            height: frame_system::Pallet::<T>::block_number().saturated_into(),
            subject: entry_subject(&subject),
            size_bytes,
            name: parsed,
            license: if declared.is_empty() { NO_LICENSE } else { declared }.to_owned(),
        };
        let deposit = Self::deposit(name.len().saturating_add(license.len()));
        T::Currency::hold(&HoldReason::Registration.into(), &who, deposit)?;
        let log_index = T::Log::append(&entry.to_bytes());
        let at = frame_system::Pallet::<T>::block_number();
        let registered = Registered { subject, size_bytes, name, license, deposit, edges: 0, at, log_index };
        Registrations::<T>::insert(artifact, &who, registered);
        Names::<T>::insert(&who, folded, artifact);
        if let Some(model) = subject.model() {
            Models::<T>::insert(model, artifact);
        }
        Self::deposit_event(Event::Registered { artifact, account: who, log_index });
        Ok(())
    }

    pub(crate) fn do_unregister(who: T::AccountId, artifact: ArtifactId) -> DispatchResult {
        let registered = Registrations::<T>::get(artifact, &who).ok_or(Error::<T>::NotRegistered)?;
        ensure!(registered.edges == 0, Error::<T>::HasEdges);
        let reason = HoldReason::Registration.into();
        T::Currency::release(&reason, &who, registered.deposit, Precision::Exact)?;
        Registrations::<T>::remove(artifact, &who);
        Names::<T>::remove(&who, fold::<T>(&parse_name::<T>(&registered.name)?)?);
        let last = Registrations::<T>::iter_prefix(artifact).next().is_none();
        if let Some(model) = registered.subject.model().filter(|_| last) {
            Models::<T>::remove(model);
        }
        Self::deposit_event(Event::Unregistered { artifact, account: who });
        Ok(())
    }

    /// Up to `limit` registrations after `after`, in the order of the storage.
    pub fn page(
        after: Option<(ArtifactId, T::AccountId)>,
        limit: u32,
    ) -> Vec<(T::AccountId, Registered<BlockNumberFor<T>>)> {
        let limit = limit.try_into().unwrap_or(usize::MAX);
        let found = match after {
            Some((artifact, who)) => {
                Registrations::<T>::iter_from(Registrations::<T>::hashed_key_for(artifact, who))
            }
            None => Registrations::<T>::iter(),
        };
        found.take(limit).map(|(_, who, registered)| (who, registered)).collect()
    }

    /// The artifact that an account calls by `name`, or by one that folds to the same.
    pub fn named(who: &T::AccountId, name: Vec<u8>) -> Option<ArtifactId> {
        let parsed = parse_name::<T>(&name.try_into().ok()?).ok()?;
        Names::<T>::get(who, fold::<T>(&parsed).ok()?)
    }

    /// What is held for a registration whose name and licence have this many bytes, or for an edge, which has none.
    pub fn deposit(bytes: usize) -> u128 {
        let bytes = u128::try_from(bytes).unwrap_or(u128::MAX);
        T::DepositBase::get().saturating_add(T::DepositPerByte::get().saturating_mul(bytes))
    }

    /// Deposits of all registrations and edges.
    pub fn deposits() -> u128 {
        let registrations = Registrations::<T>::iter_values().map(|entry| entry.deposit);
        let edges = Edges::<T>::iter_values().map(|stated| stated.deposit);
        registrations.chain(edges).fold(0, u128::saturating_add)
    }

    /// Deposits equal holds, and every registration knows how many edges its account states.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn invariants() -> Result<(), &'static str> {
        Self::edges_are_counted()?;
        let mut deposits = BTreeMap::<T::AccountId, u128>::new();
        let registrations = Registrations::<T>::iter().map(|(_, who, entry)| (who, entry.deposit));
        let edges = Edges::<T>::iter_values().map(|stated| (stated.account, stated.deposit));
        for (who, deposit) in registrations.chain(edges) {
            let sum = deposits.entry(who).or_default();
            *sum = sum.saturating_add(deposit);
        }
        for (who, sum) in deposits {
            if T::Currency::balance_on_hold(&HoldReason::Registration.into(), &who) != sum {
                return Err("an account's registration hold is not the sum of its deposits");
            }
        }
        Ok(())
    }
}

impl<T: Config> Pallet<T> {
    fn edges_are_counted() -> Result<(), &'static str> {
        let mut stated = BTreeMap::<(ArtifactId, T::AccountId), u32>::new();
        for (child, _, edge) in Edges::<T>::iter() {
            let count = stated.entry((child, edge.account)).or_default();
            *count = count.saturating_add(1);
        }
        for (artifact, who, registered) in Registrations::<T>::iter() {
            if stated.remove(&(artifact, who)).unwrap_or(0) != registered.edges {
                return Err("a registration counts its account's edges wrongly");
            }
        }
        if stated.is_empty() {
            Ok(())
        } else {
            Err("an edge was stated by an account without a registration")
        }
    }
}

fn parse_name<T: Config>(name: &Name) -> Result<ArtifactName, Error<T>> {
    let text = core::str::from_utf8(name).map_err(|_| Error::<T>::BadName)?;
    text.parse().map_err(|_| Error::<T>::BadName)
}

fn fold<T: Config>(name: &ArtifactName) -> Result<Name, Error<T>> {
    name.folded().into_bytes().try_into().map_err(|_| Error::<T>::BadName)
}

fn entry_subject(subject: &Subject) -> log::Subject {
    match subject {
        Subject::Model(parts) => log::Subject::Model(*parts),
        Subject::Dataset(id) => log::Subject::Dataset(*id),
    }
}
