//! The engine's log of messages, in memory: what was flushed survives a loss of power for certain, of the rest the first so
//! many entries.
//!
//! Entries have the bytes that Malachite's own codec gives them. That a torn entry is told by its checksum is Malachite's
//! affair and not simulated.

use malachite_core_consensus::Input;
use malachite_engine::wal::{decode_entry, encode_entry};
use rand::Rng;
use rand::rngs::StdRng;

use assay_node::consensus::bft::{Chain, Height, Wire};

use crate::power::{Power, Write};

/// What lies on the disk.
#[derive(Clone, Debug, Default)]
pub struct Left {
    height: u64,
    entries: Vec<Vec<u8>>,
}

/// A log that is being written.
pub struct Wal {
    power: Power,
    /// The height that was started, by this machine since its start.
    started: Option<Height>,
    file: Left,
    /// Entries that are flushed.
    flushed: usize,
}

/// The power is gone.
#[derive(Debug)]
pub struct Lost;

impl Wal {
    pub fn open(left: Left, power: Power) -> Self {
        let flushed = left.entries.len();
        Self { power, started: None, file: left, flushed }
    }

    /// The entries of a height, when the machine comes to it.
    pub fn start(&mut self, height: Height) -> Result<Vec<Input<Chain>>, Lost> {
        if self.started == Some(height) {
            return Ok(Vec::new());
        }
        if self.file.height != height.0 {
            self.reset(height)?;
        }
        self.started = Some(height);
        let entries = self.file.entries.iter();
        Ok(entries.map(|entry| decode_entry(&Wire, entry.as_slice()).expect("an entry as written")).collect())
    }

    /// Forgets everything before a height.
    pub fn reset(&mut self, height: Height) -> Result<(), Lost> {
        self.started = Some(height);
        if self.power.write() == Write::Never {
            return Err(Lost);
        }
        self.file = Left { height: height.0, entries: Vec::new() };
        self.flushed = 0;
        if self.power.is_lost() { Err(Lost) } else { Ok(()) }
    }

    pub fn append(&mut self, height: Height, entry: Input<Chain>) -> Result<(), Lost> {
        // As the engine does: one of another height is dropped.
        if self.started != Some(height) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        encode_entry(entry, &Wire, &mut bytes).expect("an entry of a kind that is kept");
        match self.power.write() {
            Write::Done => self.file.entries.push(bytes),
            Write::Torn | Write::Never => return Err(Lost),
        }
        Ok(())
    }

    pub fn flush(&mut self) -> Result<(), Lost> {
        match self.power.write() {
            Write::Done => self.flushed = self.file.entries.len(),
            Write::Torn | Write::Never => return Err(Lost),
        }
        Ok(())
    }

    /// What lies on the disk after the loss of power.
    pub fn after_power_loss(mut self, dice: &mut StdRng) -> Left {
        let kept = dice.gen_range(self.flushed..=self.file.entries.len());
        self.file.entries.truncate(kept);
        self.file
    }
}
