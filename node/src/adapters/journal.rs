//! Inputs and answers of open jobs in a redb file: durable before anybody relies on them.

use std::path::Path;
use std::sync::Arc;

use assay_manifest::JobId;
use assay_protocol::commitment::{Finish, Salt};
use assay_protocol::request::Request;
use codec::{Decode, DecodeAll, Encode};
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::worker::{Answer, Delivery, DeliveryError, Envelope};

const INPUTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("inputs");
const OUTPUTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("outputs");

/// Delivery between parties of one process, through a journal that survives it.
///
/// It holds plaintext: whoever can read the data directory can read the prompts.
#[derive(Clone)]
pub struct Journal {
    db: Arc<Database>,
}

#[derive(Encode, Decode)]
struct StoredInput {
    salt: [u8; 32],
    request: Vec<u8>,
}

#[derive(Encode, Decode)]
struct StoredOutput {
    tokens: Vec<u32>,
    finish: Finish,
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
            write.commit()?;
            Ok(db)
        };
        Ok(Self { db: Arc::new(attempt().map_err(failed("opening the job journal"))?) })
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
        const WHAT: &str = "reading a job's answer";
        let Some(bytes) = self.get(OUTPUTS, job).map_err(failed(WHAT))? else { return Ok(None) };
        let stored = StoredOutput::decode_all(&mut bytes.as_slice()).map_err(failed(WHAT))?;
        Ok(Some(Answer { tokens: stored.tokens, finish: stored.finish }))
    }

    fn put_input(&self, job: &JobId, envelope: &Envelope) -> Result<(), DeliveryError> {
        let stored = StoredInput { salt: *envelope.salt.as_bytes(), request: envelope.request.to_bytes() };
        self.put(INPUTS, job, &stored.encode()).map_err(failed("keeping a job's input"))
    }

    fn put_output(&self, job: &JobId, answer: &Answer) -> Result<(), DeliveryError> {
        let stored = StoredOutput { tokens: answer.tokens.clone(), finish: answer.finish };
        self.put(OUTPUTS, job, &stored.encode()).map_err(failed("keeping a job's answer"))
    }
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> DeliveryError {
    move |error| DeliveryError { what, cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_manifest::Digest32;
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
        {
            let journal = Journal::open(&path).unwrap();
            assert_eq!(journal.input(&job).unwrap(), None);
            journal.put_input(&job, &envelope()).unwrap();
            journal.put_output(&job, &answer).unwrap();
        }
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.input(&job).unwrap(), Some(envelope()));
        assert_eq!(journal.output(&job).unwrap(), Some(answer));
        journal.forget(&job).unwrap();
        assert_eq!(journal.output(&job).unwrap(), None);
    }

    #[test]
    fn a_second_opening_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.redb");
        let _first = Journal::open(&path).unwrap();
        assert!(Journal::open(&path).is_err());
    }
}
