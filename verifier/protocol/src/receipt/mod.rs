//! Receipts: one JSON file that shows what was computed, by whom, and who checked it.
//!
//! A receipt from the ledger wraps the log's leaf with everything that proves it: inclusion path, header,
//! commit certificate, the blocks at which validators handed over to others, and the candidates of both draws. Verification needs the file and a trust root,
//! nothing else; every field of the file is bound by a hash or a signature.

mod file;
mod provenance;
mod succession;
mod verify;
#[cfg(test)]
pub(crate) mod tests;

pub use file::{
    Disclosure, DrawEvidence, Evidence, LedgerReceipt, OpenedInput, OpenedOutput, OpenedTrace, Receipt,
    SelfReceipt, SelfStatement,
};
pub use provenance::{PROVENANCE_MAX, ProvenEntry};
pub use succession::{HandOver, Succession, SuccessionError};
pub use verify::{Failure, Report, Trust};
