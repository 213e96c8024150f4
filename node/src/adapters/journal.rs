//! Inputs and answers of open jobs, and where settlements stand, in a redb file: durable before anybody
//! relies on them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use assay_manifest::{Digest32, JobId, ModelId};
use assay_protocol::commitment::{Finish, Salt};
use assay_protocol::request::Request;
use codec::{Decode, DecodeAll, Encode};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use crate::receipts::{IndexError, SettlementIndex};
use crate::worker::{Answer, Delivery, DeliveryError, Envelope, Finished, Handed};

const INPUTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("inputs");
const OUTPUTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("outputs");
/// Log index of each job's settlement.
const SETTLEMENTS: TableDefinition<&[u8], u64> = TableDefinition::new("settlements");
/// The log entry after the last that [`SETTLEMENTS`] covers, under an empty key.
const SETTLEMENTS_NEXT: TableDefinition<(), u64> = TableDefinition::new("settlements-next");

/// Inputs at the same time, of open jobs and of those that are not on the ledger yet; at 256 KiB each at most
/// they stay within a quarter of a GiB.
const INPUTS_MAX: u64 = 1_024;

/// Delivery between parties of one process, through a journal that survives it.
///
/// It holds plaintext: whoever can read the data directory can read the prompts.
#[derive(Clone)]
pub struct Journal {
    db: Arc<Database>,
}

/// What is kept of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The input alone: it was not requested yet, or not executed here.
    Input,
    /// The answer, too.
    Answer,
}

#[derive(Encode, Decode)]
struct StoredInput {
    salt: [u8; 32],
    request: Vec<u8>,
}

#[derive(Encode, Decode)]
struct StoredOutput {
    model_id: ModelId,
    tokens: Vec<u32>,
    finish: Finish,
    trace_root: Digest32,
}

impl Journal {
    /// Opens or creates the journal at `path`.
    ///
    /// # Errors
    /// [`DeliveryError`] when the file cannot be opened, or another process holds it.
    pub fn open(path: &Path) -> Result<Self, DeliveryError> {
        let attempt = || -> Result<Database, redb::Error> {
            let db = Database::create(path)?;
            let write = db.begin_write()?;
            write.open_table(INPUTS)?;
            write.open_table(OUTPUTS)?;
            write.open_table(SETTLEMENTS)?;
            write.open_table(SETTLEMENTS_NEXT)?;
            write.commit()?;
            Ok(db)
        };
        Ok(Self { db: Arc::new(attempt().map_err(failed("opening the job journal"))?) })
    }

    /// The executor's work on a job, for whoever holds the job's salt.
    ///
    /// # Errors
    /// [`DeliveryError`] when the store fails.
    pub fn finished(&self, job: &JobId) -> Result<Option<Finished>, DeliveryError> {
        const WHAT: &str = "reading a job's answer";
        let Some(bytes) = self.get(OUTPUTS, job).map_err(failed(WHAT))? else { return Ok(None) };
        let StoredOutput { model_id, tokens, finish, trace_root } =
            StoredOutput::decode_all(&mut bytes.as_slice()).map_err(failed(WHAT))?;
        Ok(Some(Finished { model_id, answer: Answer { tokens, finish }, trace_root }))
    }

    /// Every job of which something is kept, and how far it came here.
    ///
    /// # Errors
    /// [`DeliveryError`] when the store fails.
    pub fn jobs(&self) -> Result<BTreeMap<JobId, Kept>, DeliveryError> {
        let attempt = || -> Result<BTreeMap<JobId, Kept>, redb::Error> {
            let read = self.db.begin_read()?;
            let mut jobs = BTreeMap::new();
            for (table, kept) in [(INPUTS, Kept::Input), (OUTPUTS, Kept::Answer)] {
                for entry in read.open_table(table)?.iter()? {
                    if let Ok(id) = entry?.0.value().try_into() {
                        jobs.insert(JobId::from_bytes(id), kept);
                    }
                }
            }
            Ok(jobs)
        };
        attempt().map_err(failed("listing the jobs of the journal"))
    }

    /// Forgets a job whose challenge window has closed.
    ///
    /// # Errors
    /// [`DeliveryError`] when the store fails.
    pub fn forget(&self, job: &JobId) -> Result<(), DeliveryError> {
        let attempt = || -> Result<(), redb::Error> {
            let write = self.db.begin_write()?;
            write.open_table(INPUTS)?.remove(job.as_bytes().as_slice())?;
            write.open_table(OUTPUTS)?.remove(job.as_bytes().as_slice())?;
            write.commit()?;
            Ok(())
        };
        attempt().map_err(failed("forgetting a closed job"))
    }

    fn put(
        &self,
        table: TableDefinition<&[u8], &[u8]>,
        job: &JobId,
        value: &[u8],
    ) -> Result<(), redb::Error> {
        let write = self.db.begin_write()?;
        write.open_table(table)?.insert(job.as_bytes().as_slice(), value)?;
        write.commit()?;
        Ok(())
    }

    fn get(&self, table: TableDefinition<&[u8], &[u8]>, job: &JobId) -> Result<Option<Vec<u8>>, redb::Error> {
        let read = self.db.begin_read()?;
        let found = read.open_table(table)?.get(job.as_bytes().as_slice())?;
        Ok(found.map(|value| value.value().to_vec()))
    }
}

impl Delivery for Journal {
    fn input(&self, job: &JobId) -> Result<Option<Envelope>, DeliveryError> {
        const WHAT: &str = "reading a job's input";
        let Some(bytes) = self.get(INPUTS, job).map_err(failed(WHAT))? else { return Ok(None) };
        let stored = StoredInput::decode_all(&mut bytes.as_slice()).map_err(failed(WHAT))?;
        let request = Request::from_bytes(&stored.request).map_err(failed(WHAT))?;
        Ok(Some(Envelope { salt: Salt::from_bytes(stored.salt), request }))
    }

    fn output(&self, job: &JobId) -> Result<Option<Answer>, DeliveryError> {
        Ok(self.finished(job)?.map(|finished| finished.answer))
    }

    fn put_input(&self, job: &JobId, envelope: &Envelope) -> Result<Handed, DeliveryError> {
        let stored = StoredInput { salt: *envelope.salt.as_bytes(), request: envelope.request.to_bytes() };
        let stored = stored.encode();
        let attempt = || -> Result<Handed, redb::Error> {
            let write = self.db.begin_write()?;
            {
                let mut table = write.open_table(INPUTS)?;
                let key = job.as_bytes().as_slice();
                let same = table.get(key)?.map(|kept| kept.value() == stored.as_slice());
                match same {
                    Some(true) => return Ok(Handed::Kept),
                    Some(false) => return Ok(Handed::OtherKept),
                    None if table.len()? >= INPUTS_MAX => return Ok(Handed::Full),
                    None => drop(table.insert(key, stored.as_slice())?),
                }
            }
            write.commit()?;
            Ok(Handed::Kept)
        };
        attempt().map_err(failed("keeping a job's input"))
    }

    fn put_output(&self, job: &JobId, finished: &Finished) -> Result<(), DeliveryError> {
        let Finished { model_id, answer, trace_root } = finished.clone();
        let stored = StoredOutput { model_id, tokens: answer.tokens, finish: answer.finish, trace_root };
        self.put(OUTPUTS, job, &stored.encode()).map_err(failed("keeping a job's answer"))
    }
}

impl SettlementIndex for Journal {
    fn next(&self) -> Result<u64, IndexError> {
        let attempt = || -> Result<u64, redb::Error> {
            let next = self.db.begin_read()?.open_table(SETTLEMENTS_NEXT)?.get(())?;
            Ok(next.map_or(0, |next| next.value()))
        };
        attempt().map_err(index_failed("reading the index of settlements"))
    }

    fn extend(&self, settlements: &[(JobId, u64)], next: u64) -> Result<(), IndexError> {
        let attempt = || -> Result<(), redb::Error> {
            let write = self.db.begin_write()?;
            {
                let mut table = write.open_table(SETTLEMENTS)?;
                for (job, index) in settlements {
                    table.insert(job.as_bytes().as_slice(), index)?;
                }
                write.open_table(SETTLEMENTS_NEXT)?.insert((), next)?;
            }
            Ok(write.commit()?)
        };
        attempt().map_err(index_failed("extending the index of settlements"))
    }

    fn find(&self, job: &JobId) -> Result<Option<u64>, IndexError> {
        let attempt = || -> Result<Option<u64>, redb::Error> {
            let found = self.db.begin_read()?.open_table(SETTLEMENTS)?.get(job.as_bytes().as_slice())?;
            Ok(found.map(|index| index.value()))
        };
        attempt().map_err(index_failed("finding a settlement"))
    }
}

fn index_failed(what: &'static str) -> impl FnOnce(redb::Error) -> IndexError {
    move |error| IndexError { what, cause: error.to_string() }
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> DeliveryError {
    move |error| DeliveryError { what, cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_protocol::request::{Prompt, REQUEST_VERSION, Sampler, prompt_hash};

    fn envelope() -> Envelope {
        let salt = Salt::from_bytes([1; 32]);
        let request = Request {
            version: REQUEST_VERSION,
            prompt: Prompt::Text("hello".into()),
            now_s: 0,
            n_in: 1,
            prompt_hash: prompt_hash(&[1]),
            max_tokens: 1,
            stop: vec![],
            sampler: Sampler::greedy(),
            seed: Some(Digest32::ZERO),
            salt_hash: salt.hash(),
        };
        Envelope { salt, request }
    }

    #[test]
    fn what_was_handed_over_survives_reopening_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.redb");
        let job = JobId::from_bytes([7; 32]);
        let answer = Answer { tokens: vec![1, 2], finish: Finish::Length };
        let finished = Finished {
            model_id: ModelId::ZERO,
            answer: answer.clone(),
            trace_root: Digest32::from_bytes([9; 32]),
        };
        {
            let journal = Journal::open(&path).unwrap();
            assert_eq!(journal.input(&job).unwrap(), None);
            assert_eq!(journal.put_input(&job, &envelope()).unwrap(), Handed::Kept);
            journal.put_output(&job, &finished).unwrap();
        }
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.input(&job).unwrap(), Some(envelope()));
        assert_eq!(journal.output(&job).unwrap(), Some(answer));
        assert_eq!(journal.finished(&job).unwrap(), Some(finished));
        assert_eq!(journal.jobs().unwrap(), BTreeMap::from([(job, Kept::Answer)]));
        journal.forget(&job).unwrap();
        assert_eq!(journal.output(&job).unwrap(), None);
        assert!(journal.jobs().unwrap().is_empty());
    }

    #[test]
    fn settlements_are_found_again_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.redb");
        let (job, other) = (JobId::from_bytes([7; 32]), JobId::from_bytes([8; 32]));
        assert_eq!(Journal::open(&path).unwrap().next().unwrap(), 0);
        Journal::open(&path).unwrap().extend(&[(job, 3)], 5).unwrap();
        let journal = Journal::open(&path).unwrap();
        assert_eq!((journal.next().unwrap(), journal.find(&job).unwrap()), (5, Some(3)));
        assert_eq!(journal.find(&other).unwrap(), None);
    }

    #[test]
    fn a_job_keeps_its_first_input() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("jobs.redb")).unwrap();
        let job = JobId::from_bytes([7; 32]);
        let salt = Salt::from_bytes([2; 32]);
        let other = Envelope { salt, ..envelope() };
        assert_eq!(journal.put_input(&job, &envelope()).unwrap(), Handed::Kept);
        assert_eq!(journal.put_input(&job, &envelope()).unwrap(), Handed::Kept);
        assert_eq!(journal.put_input(&job, &other).unwrap(), Handed::OtherKept);
        assert_eq!(journal.input(&job).unwrap(), Some(envelope()));
    }

    #[test]
    fn a_second_opening_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.redb");
        let _first = Journal::open(&path).unwrap();
        assert!(Journal::open(&path).is_err());
    }
}
