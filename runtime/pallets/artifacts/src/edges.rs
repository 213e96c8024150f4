//! Stating and withdrawing lineage edges.

use assay_manifest::lineage::Edge;
use assay_manifest::log::{Derivation, LogAppend};
use assay_manifest::status::StatusSubject;
use assay_manifest::{ArtifactId, Digest32, TaggedHash};
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::traits::fungible::MutateHold;
use frame_support::traits::tokens::Precision;
use sp_runtime::SaturatedConversion;

use crate::{Config, Edges, Error, Event, HoldReason, Pallet, Registrations, StatedEdge};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_state_edge(who: T::AccountId, edge: Edge) -> DispatchResult {
        edge.check().map_err(|_| Error::<T>::BadEdge)?;
        let mut child = Registrations::<T>::get(edge.child, &who).ok_or(Error::<T>::NotRegistered)?;
        let id = edge.id();
        let key = Self::edge_key(&id, &who);
        ensure!(!Edges::<T>::contains_key(edge.child, key), Error::<T>::EdgeExists);
        let deposit = Self::deposit(0);
        T::Currency::hold(&HoldReason::Registration.into(), &who, deposit)?;
        let at = frame_system::Pallet::<T>::block_number();
        let entry = Derivation { account: who.clone().into(), height: at.saturated_into(), edge };
        let log_index = T::Log::append(&entry.to_bytes());
        let stated = StatedEdge { edge, account: who.clone(), deposit, at, log_index };
        Edges::<T>::insert(edge.child, key, stated);
        child.edges = child.edges.saturating_add(1);
        Registrations::<T>::insert(edge.child, &who, child);
        Self::deposit_event(Event::EdgeStated { edge, id, account: who, log_index });
        Ok(())
    }

    pub(crate) fn do_withdraw_edge(who: T::AccountId, child: ArtifactId, id: Digest32) -> DispatchResult {
        let key = Self::edge_key(&id, &who);
        let stated = Edges::<T>::get(child, key).ok_or(Error::<T>::NoSuchEdge)?;
        let reason = HoldReason::Registration.into();
        T::Currency::release(&reason, &who, stated.deposit, Precision::Exact)?;
        Edges::<T>::remove(child, key);
        let log_index = Self::log_withdrawal(&who, StatusSubject::Edge { child, id });
        Registrations::<T>::mutate(child, &who, |entry| {
            if let Some(registered) = entry {
                registered.edges = registered.edges.saturating_sub(1);
            }
        });
        Self::deposit_event(Event::EdgeWithdrawn { child, id, account: who, log_index });
        Ok(())
    }

    /// Where an account's statement stands: nobody can take another's place by stating the same first.
    pub(crate) fn edge_key(id: &Digest32, who: &T::AccountId) -> Digest32 {
        TaggedHash::new("assay/edge-by/1").digest(id).fixed(who.as_ref()).finish()
    }
}
