//! What the log says of a job's model and of the keys of its seats, as of a receipt's checkpoint.

use std::collections::BTreeSet;

use assay_manifest::status::StatusSubject;
use assay_manifest::{ArtifactId, Digest32, ModelId};
use assay_protocol::job::SettlementRecord;
use assay_protocol::receipt::ProvenEntry;
use assay_runtime::queries::{CurrentStatus, RegisteredBy};
use assay_runtime::{AccountId, Hash};

use super::build::{ReceiptError, Receipts};

/// Registrations of a receipt, the first ones: anybody may register a model once more.
const REGISTRATIONS_MAX: usize = 16;

impl Receipts {
    /// Registrations of the job's model, and what their accounts and the providers say now of their own; each
    /// entry proven in the log of `log_size` entries, whose root `block` carries.
    pub(super) async fn provenance(
        &self,
        record: &SettlementRecord,
        block: Hash,
        log_size: u64,
    ) -> Result<Vec<ProvenEntry>, ReceiptError> {
        let registered = self.registrations(record.request.model_id, block).await?;
        let mut entries = BTreeSet::new();
        for (_, registration) in &registered {
            entries.insert(registration.log_index);
            entries.extend(registration.committed.map(|committed| committed.log_index));
        }
        let of: Vec<_> = subjects(record, &registered).into_iter().collect();
        let statuses: Vec<Option<CurrentStatus>> =
            self.ledger.query(Some(block), "ArtifactsApi_statuses", &of).await?;
        let stated = of.iter().zip(statuses).filter_map(|(of, status)| Some((of, status?)));
        // What was said before a registration is about one that was withdrawn.
        let stands = |(subject, who): &(StatusSubject, AccountId), status: &CurrentStatus| match subject {
            StatusSubject::Key(_) => true,
            _ => registered.iter().any(|(by, entry)| by == who && entry.log_index < status.log_index),
        };
        entries.extend(stated.filter(|(of, status)| stands(of, status)).map(|(_, status)| status.log_index));
        self.proven(entries, log_size).await
    }

    /// The first registrations of a model.
    async fn registrations(&self, model: ModelId, block: Hash) -> Result<Vec<RegisteredBy>, ReceiptError> {
        let artifact: Option<ArtifactId> =
            self.ledger.query(Some(block), "ArtifactsApi_model", model).await?;
        let Some(artifact) = artifact else { return Ok(Vec::new()) };
        let mut registered: Vec<RegisteredBy> =
            self.ledger.query(Some(block), "ArtifactsApi_registrations", artifact).await?;
        registered.retain(|(_, entry)| entry.subject.model().is_some_and(|(found, _)| found == model));
        registered.sort_by_key(|(_, entry)| entry.log_index);
        registered.truncate(REGISTRATIONS_MAX);
        Ok(registered)
    }

    async fn proven(&self, entries: BTreeSet<u64>, log_size: u64) -> Result<Vec<ProvenEntry>, ReceiptError> {
        let mut proven = Vec::with_capacity(entries.len());
        for index in entries.into_iter().filter(|index| *index < log_size) {
            let Some(entry) = self.ledger.log_entries(index, 1).await?.pop() else {
                return Err(ReceiptError::Incomplete(format!("the log does not hold entry {index}")));
            };
            let inclusion = self.ledger.log_inclusion(index, log_size).await?;
            proven.push(ProvenEntry { entry, inclusion });
        }
        Ok(proven)
    }
}

/// The claims and keys that a receipt speaks of, with whose they are.
fn subjects(record: &SettlementRecord, registered: &[RegisteredBy]) -> BTreeSet<(StatusSubject, AccountId)> {
    let key = |bytes: [u8; 32]| StatusSubject::Key(Digest32::from_bytes(bytes));
    let registrants = registered.iter().flat_map(|(who, registration)| {
        let artifact = StatusSubject::Artifact(registration.subject.artifact());
        [(artifact, who.clone()), (key(who.clone().into()), who.clone())]
    });
    let seats = record.seats.iter().flat_map(|seat| {
        let provider = AccountId::from(seat.provider);
        [(key(seat.provider), provider.clone()), (key(seat.work_key), provider)]
    });
    registrants.chain(seats).collect()
}
