//! What a receipt carries of the model's registrations, and of what accounts said later of their own: entries
//! of the log, each proven like the settlement.

use assay_manifest::ArtifactId;
use assay_manifest::log::{LogEntry, Priority, Registration, StatusEntry, Subject};
use assay_manifest::merkle::{self, InclusionProof};
use assay_manifest::status::StatusSubject;
use serde::{Deserialize, Serialize};

use crate::header::HeaderView;
use crate::job::SettlementRecord;
use crate::party::AccountBytes;

use super::file::{LedgerReceipt, hex_vec};

/// Most entries of one receipt: all that is said of sixteen registrations and twelve seats.
pub const PROVENANCE_MAX: usize = 128;

/// An entry of the log with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProvenEntry {
    /// Its canonical bytes.
    #[serde(with = "hex_vec")]
    pub entry: Vec<u8>,
    /// That the log holds it.
    pub inclusion: InclusionProof,
}

impl LedgerReceipt {
    /// The entries as they read, each with its place in the log; checked only by [`super::Receipt::verify`].
    pub fn provenance(&self) -> impl Iterator<Item = (u64, LogEntry)> + '_ {
        self.provenance.iter().filter_map(|proven| {
            LogEntry::from_bytes(&proven.entry).ok().map(|entry| (proven.inclusion.index, entry))
        })
    }

    /// Every entry is in the checkpoint's log, stands there once, and concerns this job.
    pub(super) fn check_provenance(&self) -> Result<(), String> {
        if self.provenance.len() > PROVENANCE_MAX {
            return Err(format!("it has more than {PROVENANCE_MAX} entries"));
        }
        let header = HeaderView::decode(&self.checkpoint.header).map_err(|error| error.to_string())?;
        let (size, root) = header.log().map_err(|error| error.to_string())?;
        let concern = Concern::of(self);
        let mut next = 0;
        for ProvenEntry { entry, inclusion } in &self.provenance {
            let index = inclusion.index;
            if index < next {
                return Err("the entries are not in the order of the log".into());
            }
            next = index.saturating_add(1);
            let proof = inclusion.verify(&merkle::leaf_hash(entry), &root);
            proof.map_err(|error| format!("log entry {index}: {error}"))?;
            if inclusion.size != size {
                return Err(format!("the path of log entry {index} is for another size of the log"));
            }
            let read = LogEntry::from_bytes(entry).map_err(|error| format!("log entry {index}: {error}"))?;
            if !concern.admits(&read) {
                return Err(format!("log entry {index} does not concern the model or a seat"));
            }
        }
        Ok(())
    }
}

/// Who and what a receipt speaks of: the seats, and the registrations of the model that it carries.
struct Concern<'a> {
    record: &'a SettlementRecord,
    registered: Vec<(AccountBytes, ArtifactId)>,
}

impl<'a> Concern<'a> {
    fn of(receipt: &'a LedgerReceipt) -> Self {
        let record = &receipt.settlement;
        let registration = |entry| match entry {
            LogEntry::Registered(registration) if is_of(&registration, record) => Some(registration),
            _ => None,
        };
        let registered = receipt.provenance().filter_map(|(_, entry)| registration(entry));
        let registered = registered.map(|entry| (entry.account, entry.subject.artifact_id())).collect();
        Self { record, registered }
    }

    fn admits(&self, entry: &LogEntry) -> bool {
        match entry {
            LogEntry::Registered(registration) => is_of(registration, self.record),
            LogEntry::Opened(Priority { account, artifact_id, .. }) => {
                self.registered.contains(&(*account, *artifact_id))
            }
            LogEntry::Stated(entry) => self.is_about(entry),
            LogEntry::Derived(_) | LogEntry::Committed(_) => false,
        }
    }

    fn is_about(&self, entry: &StatusEntry) -> bool {
        let StatusEntry { account, status, .. } = entry;
        match status.subject {
            StatusSubject::Artifact(artifact) => self.registered.contains(&(*account, artifact)),
            StatusSubject::Key(key) => {
                let own = key.as_bytes() == account;
                let mut seats = self.record.seats.iter().filter(|seat| seat.provider == *account);
                let registrant = self.registered.iter().any(|(registrant, _)| registrant == account);
                (own && registrant) || seats.any(|seat| own || key.as_bytes() == &seat.work_key)
            }
            StatusSubject::Edge { .. } => false,
        }
    }
}

/// Whether a registration names the model that the job asked.
fn is_of(registration: &Registration, record: &SettlementRecord) -> bool {
    match &registration.subject {
        Subject::Model { parts, .. } => parts.model_id() == record.request.model_id,
        Subject::Dataset(_) => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::receipt::tests::{evidence, receipt_of, trust};
    use crate::receipt::{Failure, Receipt};
    use assay_manifest::status::{Reason, Status, StatusKind};
    use assay_manifest::{ConfigId, Digest32, ModelParts, SpecId, TemplateId, TokenizerId, WeightsId};

    const REGISTRANT: AccountBytes = [30; 32];

    /// The parts of the model that the job asks.
    fn parts() -> ModelParts {
        ModelParts {
            artifact_id: ArtifactId::from_bytes([31; 32]),
            weights_id: WeightsId::from_bytes([32; 32]),
            config_id: ConfigId::from_bytes([33; 32]),
            tokenizer_id: TokenizerId::from_bytes([34; 32]),
            template_id: TemplateId::ZERO,
        }
    }

    fn receipt() -> LedgerReceipt {
        receipt_of(parts().model_id())
    }

    fn registration(parts: ModelParts) -> LogEntry {
        LogEntry::Registered(Registration {
            account: REGISTRANT,
            height: 3,
            subject: Subject::Model { parts, spec_id: SpecId::from_bytes([2; 32]) },
            size_bytes: 5,
            name: "model".parse().unwrap(),
            license: "MIT".into(),
        })
    }

    fn status(account: AccountBytes, subject: StatusSubject, kind: StatusKind) -> LogEntry {
        let status = Status { subject, kind, reason: Reason::Retired };
        LogEntry::Stated(StatusEntry { account, height: 4, status })
    }

    /// A registration, its priority, and what registrant and executor said later.
    pub fn entries(record: &SettlementRecord) -> Vec<LogEntry> {
        let (executor, work_key) = (record.seats[0].provider, record.seats[0].work_key);
        let artifact = StatusSubject::Artifact(parts().artifact_id);
        let compromised = StatusKind::CompromisedSince { height: 1 };
        vec![
            registration(parts()),
            LogEntry::Opened(Priority {
                account: REGISTRANT,
                height: 3,
                artifact_id: parts().artifact_id,
                salt: Digest32::from_bytes([5; 32]),
                committed_at: 1,
                prior_index: 9,
            }),
            status(REGISTRANT, artifact, StatusKind::Revoked),
            status(executor, StatusSubject::Key(Digest32::from_bytes(work_key)), compromised),
        ]
    }

    /// The sample with other entries in its log; which of them the receipt carries is up to the caller.
    fn with(entries: &[LogEntry]) -> LedgerReceipt {
        let mut receipt = receipt();
        let mut leaves: Vec<_> = entries.iter().map(|entry| merkle::leaf_hash(&entry.to_bytes())).collect();
        leaves.push(merkle::leaf_hash(&receipt.settlement.to_leaf()));
        receipt.inclusion = InclusionProof::of(&leaves, entries.len() as u64).unwrap();
        let log = (leaves.len() as u64, merkle::root(&leaves));
        receipt.checkpoint = evidence(receipt.settlement.settled_at, log);
        let proven = |(index, entry): (u64, &LogEntry)| ProvenEntry {
            entry: entry.to_bytes(),
            inclusion: InclusionProof::of(&leaves, index).unwrap(),
        };
        receipt.provenance = (0..).zip(entries).map(proven).collect();
        receipt
    }

    fn verify(receipt: LedgerReceipt) -> Result<(), Failure> {
        Receipt::Ledger(Box::new(receipt)).verify(&trust()).map(|_| ())
    }

    #[test]
    fn entries_that_the_log_holds_and_that_concern_the_job_are_accepted() {
        let entries = entries(&receipt().settlement);
        let whole = with(&entries);
        assert_eq!(whole.provenance().map(|(_, entry)| entry).collect::<Vec<_>>(), entries);
        assert_eq!(verify(whole), Ok(()));
        let mut fewer = with(&entries);
        fewer.provenance.truncate(1);
        assert_eq!(verify(fewer), Ok(()), "the log proves presence, not absence");
    }

    #[test]
    fn an_entry_that_concerns_somebody_else_is_refused() {
        let record = receipt().settlement;
        let other = ModelParts { artifact_id: ArtifactId::ZERO, ..parts() };
        let artifact = StatusSubject::Artifact(parts().artifact_id);
        let key = StatusSubject::Key(Digest32::from_bytes(record.seats[0].work_key));
        let cases = [
            ("another model", vec![registration(other)]),
            ("a status without its registration", vec![status(REGISTRANT, artifact, StatusKind::Revoked)]),
            (
                "of another's registration",
                vec![registration(parts()), status([9; 32], artifact, StatusKind::Revoked)],
            ),
            ("of another's key", vec![status(REGISTRANT, key, StatusKind::Revoked)]),
        ];
        for (reason, entries) in cases {
            assert_eq!(verify(with(&entries)).unwrap_err().check, "provenance", "{reason}");
        }
    }

    #[test]
    fn entries_twice_or_out_of_order_or_of_another_log_are_refused() {
        let entries = entries(&receipt().settlement);
        let mut twice = with(&entries);
        twice.provenance.insert(1, twice.provenance[0].clone());
        let mut swapped = with(&entries);
        swapped.provenance.swap(1, 2);
        let mut foreign = with(&entries);
        foreign.provenance[0] = with(&entries[..2]).provenance[0].clone();
        let mut many = with(&entries);
        many.provenance = vec![many.provenance[0].clone(); PROVENANCE_MAX + 1];
        for receipt in [twice, swapped, foreign, many] {
            assert_eq!(verify(receipt).unwrap_err().check, "provenance");
        }
    }
}
