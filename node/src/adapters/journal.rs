//! Sealed envelopes of open jobs, and where settlements stand, in a redb file: durable before anybody relies on
//! them. Nothing in it can be read without the recipients' keys, which lie elsewhere.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use assay_manifest::JobId;
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::{Envelope, Purpose};
use assay_runtime::executor::StoreFault;
use codec::{DecodeAll, Encode};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use tokio::sync::broadcast;

use super::redb::{fault, open_or_create};
use crate::network::{PostOffice, Slip};
use crate::receipts::{IndexError, SettlementIndex};
use crate::worker::{Mailbox, MailboxError};

/// Envelopes by job, purpose, recipient, seat and sender.
const ENVELOPES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("envelopes");
/// Log index of each job's settlement.
const SETTLEMENTS: TableDefinition<&[u8], u64> = TableDefinition::new("settlements");
/// The log entry after the last that [`SETTLEMENTS`] covers, under an empty key.
const SETTLEMENTS_NEXT: TableDefinition<(), u64> = TableDefinition::new("settlements-next");

/// Bytes of a job's id, with which a key of [`ENVELOPES`] begins.
const JOB_BYTES: usize = 32;
/// Bytes of a whole one.
const KEY_BYTES: usize = JOB_BYTES + 1 + 32 + 1 + 32;

/// Slips of what was put in that wait for a reader.
const ARRIVALS_MAX: usize = 1_024;

/// A mailbox for the parties that this node hosts, through a file that survives it.
#[derive(Clone)]
pub struct Journal {
    db: Arc<Database>,
    arrivals: broadcast::Sender<Slip>,
}

/// The journal's file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JournalError(#[from] redb::Error);

impl JournalError {
    /// What kind of trouble that is.
    pub fn fault(&self) -> StoreFault {
        fault(&self.0)
    }
}

impl Journal {
    /// Opens or creates the journal at `path`.
    ///
    /// # Errors
    /// [`JournalError`] when the file cannot be opened, or another process holds it.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Self::with(|| open_or_create(&Builder::new(), path))
    }

    /// Opens or creates the journal in anything that can be read and written like a file.
    ///
    /// # Errors
    /// [`JournalError`] when it is damaged or cannot be written.
    pub fn open_in(backend: impl StorageBackend) -> Result<Self, JournalError> {
        Self::with(|| Ok(Builder::new().create_with_backend(backend)?))
    }

    fn with(open: impl FnOnce() -> Result<Database, redb::Error>) -> Result<Self, JournalError> {
        let attempt = || -> Result<Database, redb::Error> {
            let db = open()?;
            let write = db.begin_write()?;
            write.open_table(ENVELOPES)?;
            write.open_table(SETTLEMENTS)?;
            write.open_table(SETTLEMENTS_NEXT)?;
            write.commit()?;
            Ok(db)
        };
        Ok(Self { db: Arc::new(attempt()?), arrivals: broadcast::channel(ARRIVALS_MAX).0 })
    }

    /// The answers of a job that were sealed to its requester.
    ///
    /// # Errors
    /// [`MailboxError`] when the store fails.
    pub fn answers(&self, job: &JobId) -> Result<Vec<Envelope>, MailboxError> {
        let prefix = [job.as_bytes().as_slice(), &Purpose::Answer.encode()].concat();
        let mut answers = self.with_prefix(&prefix)?;
        // An executor has sealed one to itself, too.
        answers.retain(|envelope| envelope.recipient != envelope.sender);
        Ok(answers)
    }

    /// Every job of which something is kept.
    ///
    /// # Errors
    /// [`MailboxError`] when the store fails.
    pub fn jobs(&self) -> Result<BTreeSet<JobId>, MailboxError> {
        let attempt = || -> Result<BTreeSet<JobId>, redb::Error> {
            let mut jobs = BTreeSet::new();
            for entry in self.db.begin_read()?.open_table(ENVELOPES)?.iter()? {
                let entry = entry?;
                let job = entry.0.value().first_chunk::<JOB_BYTES>().copied();
                jobs.extend(job.map(JobId::from_bytes));
            }
            Ok(jobs)
        };
        attempt().map_err(failed("listing the jobs of the journal"))
    }

    /// Forgets a job that has left the ledger.
    ///
    /// # Errors
    /// [`MailboxError`] when the store fails.
    pub fn forget(&self, job: &JobId) -> Result<(), MailboxError> {
        let attempt = || -> Result<(), redb::Error> {
            let write = self.db.begin_write()?;
            {
                let mut table = write.open_table(ENVELOPES)?;
                let (first, last) = bounds(job.as_bytes());
                table.retain_in(first.as_slice()..=last.as_slice(), |_, _| false)?;
            }
            Ok(write.commit()?)
        };
        attempt().map_err(failed("forgetting a closed job"))
    }

    fn slips_with(&self, prefix: &[u8]) -> Result<Vec<Slip>, MailboxError> {
        let attempt = || -> Result<Vec<Slip>, redb::Error> {
            let table = self.db.begin_read()?.open_table(ENVELOPES)?;
            let (first, last) = bounds(prefix);
            let mut found = Vec::new();
            for entry in table.range(first.as_slice()..=last.as_slice())? {
                found.extend(slip_of(entry?.0.value()));
            }
            Ok(found)
        };
        attempt().map_err(failed("listing envelopes"))
    }

    fn with_prefix(&self, prefix: &[u8]) -> Result<Vec<Envelope>, MailboxError> {
        const WHAT: &str = "reading envelopes";
        let attempt = || -> Result<Vec<Vec<u8>>, redb::Error> {
            let table = self.db.begin_read()?.open_table(ENVELOPES)?;
            let (first, last) = bounds(prefix);
            let mut found = Vec::new();
            for entry in table.range(first.as_slice()..=last.as_slice())? {
                found.push(entry?.1.value().to_vec());
            }
            Ok(found)
        };
        let found = attempt().map_err(failed(WHAT))?;
        found.iter().map(|bytes| Envelope::decode_all(&mut bytes.as_slice()).map_err(failed(WHAT))).collect()
    }
}

/// The first and the last key that begin with `prefix`.
fn bounds(prefix: &[u8]) -> ([u8; KEY_BYTES], [u8; KEY_BYTES]) {
    let padded = |filler: u8| {
        let mut key = [filler; KEY_BYTES];
        key.iter_mut().zip(prefix).for_each(|(to, from)| *to = *from);
        key
    };
    (padded(0), padded(u8::MAX))
}

fn key(envelope: &Envelope) -> Vec<u8> {
    slip_key(&Slip::of(envelope))
}

fn slip_key(slip: &Slip) -> Vec<u8> {
    let Slip { job, purpose, recipient, seat, sender } = slip;
    [job.as_bytes().as_slice(), &purpose.encode(), recipient, &[*seat], sender].concat()
}

/// What [`slip_key`] made a key of.
fn slip_of(key: &[u8]) -> Option<Slip> {
    let (job, rest) = key.split_first_chunk::<JOB_BYTES>()?;
    let (purpose, rest) = rest.split_first_chunk::<1>()?;
    let (recipient, rest) = rest.split_first_chunk::<32>()?;
    let (seat, sender) = rest.split_first()?;
    Some(Slip {
        job: JobId::from_bytes(*job),
        purpose: Purpose::decode_all(&mut purpose.as_slice()).ok()?,
        recipient: *recipient,
        seat: *seat,
        sender: sender.try_into().ok()?,
    })
}

impl Mailbox for Journal {
    fn put(&self, envelopes: &[Envelope]) -> Result<(), MailboxError> {
        let attempt = || -> Result<(), redb::Error> {
            let write = self.db.begin_write()?;
            {
                let mut table = write.open_table(ENVELOPES)?;
                for envelope in envelopes {
                    table.insert(key(envelope).as_slice(), envelope.encode().as_slice())?;
                }
            }
            Ok(write.commit()?)
        };
        attempt().map_err(failed("keeping an envelope"))?;
        for envelope in envelopes {
            // Nobody may be listening.
            let _ = self.arrivals.send(Slip::of(envelope));
        }
        Ok(())
    }

    fn received(
        &self,
        job: &JobId,
        purpose: Purpose,
        recipient: &AccountBytes,
    ) -> Result<Vec<Envelope>, MailboxError> {
        self.with_prefix(&[job.as_bytes().as_slice(), &purpose.encode(), recipient].concat())
    }
}

impl PostOffice for Journal {
    fn slips(&self) -> Result<Vec<Slip>, MailboxError> {
        self.slips_with(&[])
    }

    fn slips_of(&self, job: &JobId) -> Result<Vec<Slip>, MailboxError> {
        self.slips_with(job.as_bytes())
    }

    fn envelope(&self, slip: &Slip) -> Result<Option<Envelope>, MailboxError> {
        const WHAT: &str = "reading an envelope";
        let attempt = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.db.begin_read()?.open_table(ENVELOPES)?;
            Ok(table.get(slip_key(slip).as_slice())?.map(|found| found.value().to_vec()))
        };
        let found = attempt().map_err(failed(WHAT))?;
        found.map(|bytes| Envelope::decode_all(&mut bytes.as_slice()).map_err(failed(WHAT))).transpose()
    }

    fn arrivals(&self) -> broadcast::Receiver<Slip> {
        self.arrivals.subscribe()
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

fn failed<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> MailboxError {
    move |error| MailboxError { what, cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use assay_manifest::Digest32;
    use assay_protocol::signature::Signature;

    use super::*;

    fn envelope(job: u8, purpose: Purpose, [sender, recipient]: [u8; 2]) -> Envelope {
        Envelope {
            job: JobId::from_bytes([job; 32]),
            purpose,
            sender: [sender; 32],
            recipient: [recipient; 32],
            seat: 1,
            key: Digest32::ZERO,
            package: vec![9; 256],
            signature: Signature([0; 64]),
        }
    }

    #[test]
    fn an_envelope_lies_there_for_its_recipient_until_its_job_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.redb");
        let own = envelope(7, Purpose::Work, [1, 2]);
        // Neighbours in every field that the key begins with.
        let others = [
            envelope(6, Purpose::Work, [1, 2]),
            envelope(8, Purpose::Work, [1, 2]),
            envelope(7, Purpose::Input, [1, 2]),
            envelope(7, Purpose::Answer, [1, 2]),
            envelope(7, Purpose::Work, [1, 3]),
        ];
        {
            let journal = Journal::open(&path).unwrap();
            journal.put(&others).unwrap();
            journal.put(std::slice::from_ref(&own)).unwrap();
        }
        let journal = Journal::open(&path).unwrap();
        let find = || journal.received(&own.job, Purpose::Work, &[2; 32]).unwrap();
        assert_eq!(find(), vec![own.clone()]);
        assert_eq!(journal.jobs().unwrap().len(), 3);
        journal.forget(&own.job).unwrap();
        assert_eq!(find(), vec![]);
        let left = BTreeSet::from([6, 8].map(|byte| JobId::from_bytes([byte; 32])));
        assert_eq!(journal.jobs().unwrap(), left);
    }

    #[test]
    fn a_later_envelope_of_one_sender_takes_the_place_of_its_first_and_of_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("jobs.redb")).unwrap();
        let first = envelope(7, Purpose::Input, [1, 2]);
        let later = Envelope { package: vec![8; 362], ..first.clone() };
        let strangers = envelope(7, Purpose::Input, [3, 2]);
        journal.put(&[first, strangers.clone()]).unwrap();
        journal.put(std::slice::from_ref(&later)).unwrap();
        assert_eq!(journal.received(&later.job, Purpose::Input, &[2; 32]).unwrap(), vec![later, strangers]);
    }

    #[test]
    fn slips_name_what_lies_there_and_tell_of_what_comes_in() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("jobs.redb")).unwrap();
        let mut arrivals = journal.arrivals();
        let [own, other] = [envelope(7, Purpose::Work, [1, 2]), envelope(8, Purpose::Answer, [3, 4])];
        journal.put(&[own.clone(), other.clone()]).unwrap();
        assert_eq!(journal.slips().unwrap(), vec![Slip::of(&own), Slip::of(&other)]);
        assert_eq!(journal.slips_of(&own.job).unwrap(), vec![Slip::of(&own)]);
        assert_eq!(journal.envelope(&Slip::of(&own)).unwrap(), Some(own.clone()));
        assert_eq!(journal.envelope(&Slip { seat: 9, ..Slip::of(&own) }).unwrap(), None);
        assert_eq!([arrivals.try_recv(), arrivals.try_recv()], [Ok(Slip::of(&own)), Ok(Slip::of(&other))]);
    }

    #[test]
    fn what_an_executor_has_sealed_to_itself_is_no_answer_for_anybody() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("jobs.redb")).unwrap();
        let [own, reply] = [[1, 1], [1, 2]].map(|parties| envelope(7, Purpose::Answer, parties));
        journal.put(&[own, reply.clone()]).unwrap();
        assert_eq!(journal.answers(&reply.job).unwrap(), vec![reply]);
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
    fn a_second_opening_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.redb");
        let _first = Journal::open(&path).unwrap();
        assert!(Journal::open(&path).is_err());
    }
}
