//! A machine's power, which goes at a write, and the disks that it leaves behind.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::disk::Disk;

/// The power of one machine, from a start to a loss. What makes something durable draws from it: the syncs of the ledger's
/// and the candidates' stores, and every entry and flush of the log of messages.
///
/// A store's single writes do not. Whatever power goes between them leaves behind is among what a sync leaves behind that
/// is cut off, which is every choice of the sectors that were written before; and how many writes a store needs depends on
/// hashes, which differ between two runs of one seed.
#[derive(Clone, Debug, Default)]
pub struct Power(Arc<Mutex<Supply>>);

#[derive(Debug, Default)]
struct Supply {
    /// Writes that still succeed, if that is decided.
    left: Option<u64>,
    lost: bool,
}

/// How a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Done,
    /// The power goes now: it may be done in part.
    Torn,
    /// The power is gone.
    Never,
}

impl Power {
    /// Goes after so many more of these writes.
    pub fn goes_after(&self, writes: u64) {
        self.supply().left = Some(writes);
    }

    /// Does not go, whatever was decided before.
    pub fn lasts(&self) {
        self.supply().left = None;
    }

    /// Goes now.
    pub fn cut(&self) {
        self.supply().lost = true;
    }

    pub fn is_lost(&self) -> bool {
        self.supply().lost
    }

    /// Draws what a write needs.
    pub fn write(&self) -> Write {
        let mut supply = self.supply();
        if supply.lost {
            return Write::Never;
        }
        match &mut supply.left {
            Some(0) => {
                supply.lost = true;
                Write::Torn
            }
            Some(left) => {
                *left -= 1;
                Write::Done
            }
            None => Write::Done,
        }
    }

    fn supply(&self) -> MutexGuard<'_, Supply> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A disk in a machine with this power.
#[derive(Debug)]
pub struct Drive {
    disk: Disk,
    power: Power,
}

impl Drive {
    pub const fn new(disk: Disk, power: Power) -> Self {
        Self { disk, power }
    }

    fn change(&self, change: impl FnOnce(&Disk) -> io::Result<()>) -> io::Result<()> {
        if self.power.is_lost() { Err(gone()) } else { change(&self.disk) }
    }
}

impl StorageBackend for Drive {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.power.is_lost() { Err(gone()) } else { self.disk.read(offset, out) }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(|disk| disk.set_len(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.power.write() {
            Write::Done => self.disk.sync_data(),
            Write::Torn => {
                self.disk.fail_after(0);
                self.disk.sync_data()
            }
            Write::Never => Err(gone()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|disk| disk.write(offset, data))
    }
}

fn gone() -> io::Error {
    io::Error::other("the power is gone")
}
