//! The ledger's store in a redb file, as the node keeps it.

use std::path::Path;

use assay_runtime::executor::{Batch, Entry, Kv, StoreError, StoreFault};
use redb::{Database, Error, ReadableDatabase, TableDefinition};

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("ledger");

pub struct RedbKv(Database);

impl RedbKv {
    pub fn create(path: &Path) -> Result<Self, Error> {
        let db = Database::create(path)?;
        let write = db.begin_write()?;
        write.open_table(TABLE)?;
        write.commit()?;
        Ok(Self(db))
    }
}

impl Kv for RedbKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let attempt = || -> Result<Option<Vec<u8>>, Error> {
            let found = self.0.begin_read()?.open_table(TABLE)?.get(key)?;
            Ok(found.map(|value| value.value().to_vec()))
        };
        attempt().map_err(failed)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        let attempt = || -> Result<Vec<Entry>, Error> {
            let table = self.0.begin_read()?.open_table(TABLE)?;
            let mut found = Vec::new();
            for entry in table.range::<&[u8]>(from.max(prefix)..)?.take(limit) {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(found)
        };
        attempt().map_err(failed)
    }

    fn commit(&self, mut batch: Batch) -> Result<(), StoreError> {
        batch.sort_by(|a, b| a.0.cmp(&b.0));
        let attempt = || -> Result<(), Error> {
            let write = self.0.begin_write()?;
            {
                let mut table = write.open_table(TABLE)?;
                for (key, value) in &batch {
                    match value {
                        Some(value) => table.insert(key.as_slice(), value.as_slice())?,
                        None => table.remove(key.as_slice())?,
                    };
                }
            }
            Ok(write.commit()?)
        };
        attempt().map_err(failed)
    }
}

fn failed(error: Error) -> StoreError {
    StoreError { what: "using", cause: error.to_string(), fault: StoreFault::Other }
}
