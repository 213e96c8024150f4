//! Proposed blocks in a redb file.

use std::path::Path;
use std::sync::Arc;

use assay_manifest::Digest32;
use assay_runtime::executor::StoreFault;
use codec::{DecodeAll, Encode};
use redb::{Builder, Database, ReadableDatabase, StorageBackend, TableDefinition};

use super::redb::{fault, open_or_create};
use crate::consensus::{Candidate, Candidates, CandidatesError};

/// Candidates by height, round and hash.
const CANDIDATES: TableDefinition<(u32, u32, [u8; 32]), &[u8]> = TableDefinition::new("candidates");

/// The file of candidates.
#[derive(Clone)]
pub struct CandidateFile {
    db: Arc<Database>,
}

impl CandidateFile {
    /// Opens or creates the file at `path`.
    ///
    /// # Errors
    /// [`CandidatesError`] when it cannot be opened, or another process holds it.
    pub fn open(path: &Path) -> Result<Self, CandidatesError> {
        Self::with(|builder| open_or_create(builder, path))
    }

    /// Opens or creates the file in anything that can be read and written like one.
    ///
    /// # Errors
    /// [`CandidatesError`] when it is damaged or cannot be written.
    pub fn open_in(backend: impl StorageBackend) -> Result<Self, CandidatesError> {
        Self::with(|builder| Ok(builder.create_with_backend(backend)?))
    }

    fn with(open: impl FnOnce(&Builder) -> Result<Database, redb::Error>) -> Result<Self, CandidatesError> {
        let open = || -> Result<Database, redb::Error> {
            let db = open(&Builder::new())?;
            let write = db.begin_write()?;
            write.open_table(CANDIDATES)?;
            write.commit()?;
            Ok(db)
        };
        Ok(Self { db: Arc::new(open().map_err(failed)?) })
    }

    fn scan(
        &self,
        from: (u32, u32),
        to: (u32, u32),
        wanted: impl Fn(&(u32, u32, [u8; 32])) -> bool,
    ) -> Result<Vec<Candidate>, CandidatesError> {
        let range = (from.0, from.1, [0; 32])..=(to.0, to.1, [0xff; 32]);
        let read = || -> Result<Vec<Vec<u8>>, redb::Error> {
            let table = self.db.begin_read()?.open_table(CANDIDATES)?;
            let mut found = Vec::new();
            for entry in table.range(range)? {
                let (key, value) = entry?;
                if wanted(&key.value()) {
                    found.push(value.value().to_vec());
                }
            }
            Ok(found)
        };
        let decode = |bytes: Vec<u8>| {
            Candidate::decode_all(&mut bytes.as_slice()).map_err(|error| CandidatesError {
                cause: format!("a candidate is damaged: {error}"),
                fault: StoreFault::Damaged,
            })
        };
        read().map_err(failed)?.into_iter().map(decode).collect()
    }
}

impl Candidates for CandidateFile {
    fn keep(&self, candidate: &Candidate) -> Result<(), CandidatesError> {
        let key = (candidate.height, candidate.round, *candidate.value.as_bytes());
        let write = || -> Result<(), redb::Error> {
            let write = self.db.begin_write()?;
            write.open_table(CANDIDATES)?.insert(key, candidate.encode().as_slice())?;
            Ok(write.commit()?)
        };
        write().map_err(failed)
    }

    fn of_round(&self, height: u32, round: u32) -> Result<Vec<Candidate>, CandidatesError> {
        self.scan((height, round), (height, round), |_| true)
    }

    fn find(&self, height: u32, value: &Digest32) -> Result<Option<Candidate>, CandidatesError> {
        let found = self.scan((height, 0), (height, u32::MAX), |key| key.2 == *value.as_bytes())?;
        Ok(found.into_iter().next())
    }

    fn forget_until(&self, height: u32) -> Result<(), CandidatesError> {
        let over = ..=(height, u32::MAX, [0xff; 32]);
        let write = || -> Result<(), redb::Error> {
            let write = self.db.begin_write()?;
            write.open_table(CANDIDATES)?.retain_in(over, |_, _| false)?;
            Ok(write.commit()?)
        };
        write().map_err(failed)
    }
}

fn failed(error: redb::Error) -> CandidatesError {
    CandidatesError { fault: fault(&error), cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(height: u32, round: u32, name: u8) -> Candidate {
        Candidate {
            height,
            round,
            value: Digest32::from_bytes([name; 32]),
            proposer: Digest32::from_bytes([1; 32]),
            signature: Some([2; 64]),
            block: vec![name; 1_000],
        }
    }

    #[test]
    fn candidates_are_there_after_reopening_until_their_height_is_decided() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("candidates.redb");
        let all = [candidate(7, 0, 1), candidate(7, 0, 2), candidate(7, 1, 3), candidate(8, 0, 1)];
        {
            let file = CandidateFile::open(&path).unwrap();
            all.iter().for_each(|candidate| file.keep(candidate).unwrap());
            assert!(matches!(CandidateFile::open(&path), Err(error) if error.fault == StoreFault::Held));
        }
        let file = CandidateFile::open(&path).unwrap();
        assert_eq!(file.of_round(7, 0).unwrap(), all[..2]);
        assert_eq!(file.of_round(7, 1).unwrap(), all[2..3]);
        assert_eq!(file.find(7, &all[2].value).unwrap().as_ref(), Some(&all[2]));
        assert_eq!(file.find(8, &all[2].value).unwrap(), None);
        file.forget_until(7).unwrap();
        assert_eq!(file.of_round(7, 0).unwrap(), []);
        assert_eq!(file.of_round(8, 0).unwrap(), all[3..]);
    }
}
