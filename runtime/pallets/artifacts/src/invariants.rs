//! What holds after every block.

use assay_manifest::{ArtifactId, ModelId, SpecId};
use frame_support::traits::fungible::InspectHold;
use std::collections::BTreeMap;

use crate::{Config, Edges, HoldReason, Models, Pallet, Priors, Registrations, Statuses};

impl<T: Config> Pallet<T> {
    /// Deposits of everything that is kept here.
    pub fn deposits() -> u128 {
        Self::each_deposit().map(|(_, deposit)| deposit).fold(0, u128::saturating_add)
    }

    /// Deposits equal holds, and what is counted is there as often as its count says.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn invariants() -> Result<(), &'static str> {
        Self::edges_are_counted()?;
        Self::models_are_counted()?;
        let mut deposits = BTreeMap::<T::AccountId, u128>::new();
        for (who, deposit) in Self::each_deposit() {
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

    fn each_deposit() -> impl Iterator<Item = (T::AccountId, u128)> {
        let registrations = Registrations::<T>::iter().map(|(_, who, entry)| (who, entry.deposit));
        let edges = Edges::<T>::iter_values().map(|stated| (stated.account, stated.deposit));
        let statuses = Statuses::<T>::iter().map(|(_, who, stated)| (who, stated.deposit));
        let priors = Priors::<T>::iter()
            .flat_map(|(who, priors)| priors.into_iter().map(move |prior| (who.clone(), prior.deposit)));
        registrations.chain(edges).chain(statuses).chain(priors)
    }

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

    fn models_are_counted() -> Result<(), &'static str> {
        let mut registered = BTreeMap::<(ModelId, SpecId), (ArtifactId, u32)>::new();
        for entry in Registrations::<T>::iter_values() {
            let Some(model) = entry.subject.model() else { continue };
            let (_, count) = registered.entry(model).or_insert((entry.subject.artifact(), 0));
            *count = count.saturating_add(1);
        }
        for (model, spec, entry) in Models::<T>::iter() {
            if registered.remove(&(model, spec)) != Some((entry.artifact, entry.registrations)) {
                return Err("a model's registrations are counted wrongly");
            }
        }
        if registered.is_empty() { Ok(()) } else { Err("a registered model cannot be looked up") }
    }
}
