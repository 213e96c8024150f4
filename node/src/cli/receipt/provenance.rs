//! What a receipt carries of the model's registrations and of what accounts said later.

use assay_manifest::log::{LogEntry, Priority, Registration, StatusEntry};
use assay_manifest::status::Status;
use assay_protocol::receipt::LedgerReceipt;
use assay_protocol::units::Height;
use assay_runtime::AccountId;
use serde::Serialize;

use crate::cli::claim::said;
use crate::cli::table;

/// An entry of the log, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    log_index: u64,
    account: AccountId,
    at: Height,
    #[serde(flatten)]
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum What {
    /// The account registered the model under this name.
    Registered(String),
    /// The account showed that it had committed to it at this height.
    FirstCommittedAt(Height),
    /// The account spoke of its own.
    Status(Status),
}

/// Everything of the kind that a receipt holds, in the order of the log.
pub fn told(receipt: &LedgerReceipt) -> Vec<Told> {
    receipt.provenance().filter_map(|(log_index, entry)| Told::of(log_index, entry)).collect()
}

/// The same as lines.
pub fn rows(told: &[Told]) -> Vec<(&'static str, String)> {
    told.iter().flat_map(Told::rows).collect()
}

impl Told {
    fn of(log_index: u64, entry: LogEntry) -> Option<Self> {
        let (account, height, what) = match entry {
            LogEntry::Registered(Registration { account, height, name, .. }) => {
                (account, height, What::Registered(name.to_string()))
            }
            LogEntry::Opened(Priority { account, height, committed_at, .. }) => {
                (account, height, What::FirstCommittedAt(Height::new(committed_at)))
            }
            LogEntry::Stated(StatusEntry { account, height, status }) => {
                (account, height, What::Status(status))
            }
            LogEntry::Derived(_) | LogEntry::Committed(_) => return None,
        };
        Some(Self { log_index, account: account.into(), at: Height::new(height), what })
    }

    /// Who, and below it what and where.
    fn rows(&self) -> [(&'static str, String); 2] {
        let Self { log_index, account, at, what } = self;
        let (title, who, text) = match what {
            What::Registered(name) => {
                ("registered", format!("{account}/{}", table::plain(name)), format!("height {at}"))
            }
            What::FirstCommittedAt(height) => {
                ("registered", account.to_string(), format!("first committed at height {height}"))
            }
            What::Status(status) => ("status", account.to_string(), format!("{}, height {at}", said(status))),
        };
        [(title, who), ("", format!("{text}, log entry {log_index}"))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_manifest::Digest32;
    use assay_manifest::status::{Reason, StatusKind, StatusSubject};

    #[test]
    fn a_warning_about_a_key_says_whose_it_is_and_why() {
        let status = Status {
            subject: StatusSubject::Key(Digest32::from_bytes([1; 32])),
            kind: StatusKind::CompromisedSince { height: 5 },
            reason: Reason::Security,
        };
        let entry = LogEntry::Stated(StatusEntry { account: [2; 32], height: 9, status });
        let told = Told::of(7, entry).unwrap();
        let [(title, who), (_, text)] = told.rows();
        assert_eq!((title, who), ("status", AccountId::new([2; 32]).to_string()));
        assert!(text.len() <= 85, "beside its title it fits into a terminal: {text}");
        for part in ["its key 0x01", "compromised since height 5 (security)", "height 9", "log entry 7"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(serde_json::to_value(&told).unwrap()["status"]["reason"], "security");
    }
}
