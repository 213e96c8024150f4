//! A chain in memory, whose batches are kept.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use assay_manifest::sha256;
use assay_runtime::executor::testing::RecordingKv;
use assay_runtime::executor::{MemoryKv, Retention, on_big_stack};
use assay_runtime::{AccountId, Endowment, GenesisSpec, UNIT, UncheckedExtrinsic};
use sp_core::sr25519;

use crate::batches::{Kind, Recorded, Writer};
use crate::support::{Network, genesis, provider, transactions, transfer};

pub const TYPICAL_BLOCKS: u32 = 300;
pub const TYPICAL_TRANSFERS: u32 = 10;
pub const FULL_BLOCKS: u32 = 40;
/// More than a block takes.
const OFFERED: u32 = 6_000;
/// Accounts that send, in turn.
const SENDERS: u8 = 12;
/// Shorter than the node's, so that deletions are a part of most batches.
const RETENTION: Retention = Retention::Window(32);

/// What was recorded.
pub struct Summary {
    pub full_transfers: usize,
    pub typical_keys: usize,
    pub full_keys: usize,
}

/// Builds the chain, and writes the batch of every block to a file.
pub fn record(accounts: u32, path: &Path) -> Result<Summary, Box<dyn Error>> {
    let kv = Arc::new(RecordingKv::new(MemoryKv::default()));
    let mut town = Town {
        net: Network::with(Arc::clone(&kv), &spec(accounts), RETENTION)?,
        senders: (0..SENDERS).map(provider).collect(),
        accounts,
        sent: 0,
    };
    let mut writer = Writer::create(path)?;
    let mut keep = |kind| -> Result<usize, Box<dyn Error>> {
        let batch = kv.take();
        let keys = batch.len();
        writer.append(&Recorded { kind, batch })?;
        Ok(keys)
    };
    keep(Kind::Genesis)?;
    let mut summary = Summary { full_transfers: 0, typical_keys: 0, full_keys: 0 };
    for _ in 0..TYPICAL_BLOCKS {
        town.block(TYPICAL_TRANSFERS)?;
        summary.typical_keys = keep(Kind::Typical)?;
    }
    for _ in 0..FULL_BLOCKS {
        summary.full_transfers = town.block(OFFERED)?;
        summary.full_keys = keep(Kind::Full)?;
    }
    writer.finish()?;
    Ok(summary)
}

struct Town {
    net: Network<Arc<RecordingKv<MemoryKv>>>,
    senders: Vec<sr25519::Pair>,
    accounts: u32,
    sent: u32,
}

impl Town {
    /// A block of as many of so many transfers as fit, each to another account.
    fn block(&mut self, transfers: u32) -> Result<usize, Box<dyn Error>> {
        let senders = self.senders.len() as u32;
        let signed = (self.sent..self.sent + transfers).map(|n| -> UncheckedExtrinsic {
            let to = crowd(n.wrapping_mul(2_654_435_761) % self.accounts);
            self.net.sign_at(&self.senders[(n % senders) as usize], n / senders, transfer(&to, UNIT))
        });
        let signed = signed.collect();
        let proposal = on_big_stack(|| self.net.propose(signed))??;
        let taken = transactions(&proposal.block).len();
        self.sent += taken as u32;
        self.net.commit(&proposal.block, proposal.executed)?;
        Ok(taken)
    }
}

fn spec(accounts: u32) -> GenesisSpec {
    let base = genesis();
    let crowd = (0..accounts).map(|n| Endowment { account: crowd(n), amount: UNIT });
    GenesisSpec { endowments: base.endowments.iter().cloned().chain(crowd).collect(), ..base }
}

fn crowd(n: u32) -> AccountId {
    AccountId::new(*sha256(&n.to_le_bytes()).as_bytes())
}
