//! The ledger's store, by its name.

use std::path::Path;
use std::sync::Arc;

use assay_runtime::executor::{Kv, StoreError};

use super::{RedbKv, SledKv};
use crate::data_dir::LedgerStore;

/// Opens or creates a store of the ledger.
///
/// # Errors
/// [`StoreError`] when it is damaged, not writable, or held by another process.
pub fn open_ledger(store: LedgerStore, path: &Path) -> Result<Arc<dyn Kv>, StoreError> {
    Ok(match store {
        LedgerStore::Redb => Arc::new(RedbKv::open(path)?),
        LedgerStore::Sled => Arc::new(SledKv::open(path)?),
    })
}
