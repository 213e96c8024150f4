//! What receipts need from others.

use assay_manifest::JobId;

/// The index could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct IndexError {
    /// What was attempted.
    pub what: &'static str,
    /// What went wrong.
    pub cause: String,
}

/// Where in the log each job's settlement stands. The log can fill it again from its beginning.
pub trait SettlementIndex: Send + Sync {
    /// The first entry of the log that was not looked at.
    ///
    /// # Errors
    /// [`IndexError`] when the store fails.
    fn next(&self) -> Result<u64, IndexError>;
    /// Files settlements, and that everything before `next` was looked at; all of it or nothing.
    ///
    /// # Errors
    /// [`IndexError`] when the store fails.
    fn extend(&self, settlements: &[(JobId, u64)], next: u64) -> Result<(), IndexError>;
    /// The entry of a job's settlement.
    ///
    /// # Errors
    /// [`IndexError`] when the store fails.
    fn find(&self, job: &JobId) -> Result<Option<u64>, IndexError>;
}
