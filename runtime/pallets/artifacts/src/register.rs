//! Registering and withdrawing artifacts.

use assay_manifest::log::{self, LogAppend, NO_LICENSE, Registration};
use assay_manifest::name::ArtifactName;
use assay_manifest::status::StatusSubject;
use assay_manifest::{ArtifactId, ModelId, SpecId};
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::traits::Get;
use frame_support::traits::fungible::MutateHold;
use frame_support::traits::tokens::Precision;
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::SaturatedConversion;

use crate::{
    Config, Error, Event, Folded, HoldReason, License, ModelEntry, Models, Name, Names, Pallet, Registered,
    Registrations, Subject,
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
        let (edges, committed) = (0, None);
        let registered =
            Registered { subject, size_bytes, name, license, deposit, edges, at, log_index, committed };
        Registrations::<T>::insert(artifact, &who, registered);
        Names::<T>::insert(&who, folded, artifact);
        Self::count_model(&subject);
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
        Self::forget_model(&registered.subject);
        let log_index = Self::log_withdrawal(&who, StatusSubject::Artifact(artifact));
        Self::deposit_event(Event::Unregistered { artifact, account: who, log_index });
        Ok(())
    }

    fn count_model(subject: &Subject) {
        let Some((model, spec)) = subject.model() else { return };
        Models::<T>::mutate(model, spec, |entry| {
            let registrations = entry.map_or(0, |entry| entry.registrations).saturating_add(1);
            *entry = Some(ModelEntry { artifact: subject.artifact(), registrations });
        });
    }

    fn forget_model(subject: &Subject) {
        let Some((model, spec)) = subject.model() else { return };
        Models::<T>::mutate_exists(model, spec, |entry| {
            let left = entry
                .map(|entry| ModelEntry { registrations: entry.registrations.saturating_sub(1), ..entry });
            *entry = left.filter(|left| left.registrations > 0);
        });
    }

    /// The artifact whose parts make up a model, if it is registered as one.
    pub fn artifact_of(model: ModelId) -> Option<ArtifactId> {
        Models::<T>::iter_prefix_values(model).next().map(|entry| entry.artifact)
    }

    /// Whether a registration of the model states this spec, or leaves it open; nothing when the model is not
    /// registered.
    pub fn agrees(model: ModelId, spec: SpecId) -> Option<bool> {
        Self::artifact_of(model)?;
        let stated = |spec| Models::<T>::contains_key(model, spec);
        Some(stated(spec) || stated(SpecId::ZERO))
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

    /// What is held for a registration whose name and licence have this many bytes; of an edge, a priority
    /// commitment and a status, which have none.
    pub fn deposit(bytes: usize) -> u128 {
        let bytes = u128::try_from(bytes).unwrap_or(u128::MAX);
        T::DepositBase::get().saturating_add(T::DepositPerByte::get().saturating_mul(bytes))
    }
}

fn parse_name<T: Config>(name: &Name) -> Result<ArtifactName, Error<T>> {
    let text = core::str::from_utf8(name).map_err(|_| Error::<T>::BadName)?;
    text.parse().map_err(|_| Error::<T>::BadName)
}

fn fold<T: Config>(name: &ArtifactName) -> Result<Folded, Error<T>> {
    name.folded().into_bytes().try_into().map_err(|_| Error::<T>::BadName)
}

fn entry_subject(subject: &Subject) -> log::Subject {
    match subject {
        Subject::Model { parts, spec_id } => log::Subject::Model { parts: *parts, spec_id: *spec_id },
        Subject::Dataset(id) => log::Subject::Dataset(*id),
    }
}
