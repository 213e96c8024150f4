//! A disk in memory that loses power at an operation of one's choice.

use std::io;
use std::sync::{Arc, Mutex};

use rand::Rng;
use rand::rngs::StdRng;
use redb::StorageBackend;

/// What a disk writes at once.
pub const SECTOR_BYTES: usize = 512;

/// A file on a disk that loses power. What was written and not synced may be there or not, sector by sector.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What survives for certain.
    durable: Vec<u8>,
    /// What was done since, in order.
    pending: Vec<Change>,
    /// What the process sees.
    seen: Vec<u8>,
    /// Writes, changes of length and syncs so far.
    operations: u64,
    /// The operation that fails, and all after it.
    fails_at: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Disk {
    /// A disk that holds `contents`.
    pub fn with(contents: Vec<u8>) -> Self {
        let state =
            State { durable: contents.clone(), seen: contents, fails_at: u64::MAX, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Lets so many more operations through, and then none.
    pub fn fail_after(&self, operations: u64) {
        let mut state = self.0.lock().unwrap();
        state.fails_at = state.operations + operations;
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    /// What lies on it when everything has been synced; only that a file became shorter may be outstanding, for a
    /// store gives room back after its commit.
    pub fn contents(&self) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        let gives_room =
            |change: &Change| matches!(change, Change::Length(length) if *length <= state.durable.len());
        assert!(state.pending.iter().all(gives_room), "something was not synced");
        state.seen.clone()
    }

    /// What lies on it after the loss of power.
    pub fn after_power_loss(&self, dice: &mut StdRng) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        let mut left = state.durable.clone();
        let luck = [0.0, 0.1, 0.5, 0.9, 1.0][dice.gen_range(0..5)];
        for change in &state.pending {
            match change {
                Change::Length(length) if dice.gen_bool(luck) => left.resize(*length, 0),
                Change::Length(_) => {}
                Change::Write(offset, bytes) => {
                    for (n, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if dice.gen_bool(luck) {
                            put(&mut left, offset + n * SECTOR_BYTES, sector);
                        }
                    }
                }
            }
        }
        left
    }

    fn operate(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let number = state.operations;
        state.operations += 1;
        match operation {
            // The one that fails may have been done in part.
            Operation::Change(change) if number <= state.fails_at => state.change(change),
            Operation::Sync if number < state.fails_at => state.sync(),
            _ => {}
        }
        if number < state.fails_at { Ok(()) } else { Err(lost()) }
    }
}

enum Operation {
    Change(Change),
    Sync,
}

impl State {
    fn change(&mut self, change: Change) {
        match &change {
            Change::Write(offset, bytes) => put(&mut self.seen, *offset, bytes),
            Change::Length(length) => self.seen.resize(*length, 0),
        }
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Length(length) => self.durable.resize(length, 0),
                Change::Write(offset, bytes) => put(&mut self.durable, offset, &bytes),
            }
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        if state.operations > state.fails_at {
            return Err(lost());
        }
        let start = offset as usize;
        let found = state.seen.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operate(Operation::Change(Change::Length(len as usize)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate(Operation::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.operate(Operation::Change(Change::Write(offset as usize, data.to_vec())))
    }
}

/// Writes, and makes room where there is none.
pub fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

fn lost() -> io::Error {
    io::Error::other("the power is gone")
}
