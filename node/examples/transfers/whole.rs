//! From submission to finality, through the services that a node runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use assay_node::adapters::{CandidateFile, PoolSource, RedbKv};
use assay_node::chain_spec::{ChainSpec, development_authority};
use assay_node::consensus::{self, Clock, Consensus, Network, Proposer};
use assay_node::ledger::{self, LedgerHandle};
use assay_node::mempool::{self, Mempool, MempoolHandle};
use assay_runtime::own_extrinsics;
use codec::Encode;
use tokio::sync::{Semaphore, watch};

use crate::cost::{Cost, Start};
use crate::crowd::Crowd;

/// Transactions that are on their way at the same time: less than the pool holds.
const IN_FLIGHT: usize = 6_000;
/// Those of them that the pool has not answered: less than it checks at the same time.
const ASKING: usize = 768;

pub struct Whole {
    pub cost: Cost,
    pub blocks: usize,
}

pub fn measure(crowd: &Crowd, dir: &Path) -> Result<Whole, Box<dyn std::error::Error>> {
    let genesis = crowd.endowed(ChainSpec::development()?.genesis);
    let ledger::Ledger { handle: ledger, .. } =
        ledger::open(RedbKv::open(&dir.join("whole"))?, &genesis, ledger::Config::default())?;
    let transfers = crowd.transfers(ledger.genesis(), 0, 0..crowd.len());
    let bytes: Vec<Vec<u8>> = transfers.iter().map(Encode::encode).collect();
    tokio::runtime::Runtime::new()?.block_on(run(ledger, dir, bytes))
}

async fn run(
    ledger: LedgerHandle,
    dir: &Path,
    transfers: Vec<Vec<u8>>,
) -> Result<Whole, Box<dyn std::error::Error>> {
    let (stop, stopped) = watch::channel(false);
    let (service, pool) = Mempool::new(mempool::Config::default(), ledger.checking(), 0);
    tokio::spawn(service.run(stopped.clone()));
    let source = PoolSource { pool: pool.clone(), ledger: ledger.reserved() };
    let consensus = Consensus {
        config: consensus::Config {
            // As fast as they can be made.
            block_time: Duration::from_millis(1),
            clock: Clock::system(),
            network: Network::alone(),
            write_ahead_log: dir.join("consensus.wal"),
        },
        ledger: ledger.reserved(),
        proposer: Some(Proposer::new(development_authority(), ledger.reserved(), source)),
        candidates: CandidateFile::open(&dir.join("candidates.redb"))?,
    };
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    let (count, mut blocks) = (transfers.len(), ledger.subscribe());
    let start = Start::now();
    tokio::spawn(submit(pool.clone(), transfers, Arc::clone(&in_flight)));
    let making = tokio::spawn(consensus.run(stopped));
    let (mut done, mut filled) = (0, 0);
    while done < count {
        let block = blocks.recv().await?;
        let transactions = block.extrinsics.len() - own_extrinsics(block.header.number);
        pool.finalized(block.header.number, block.hash, block.extrinsics.clone()).await?;
        in_flight.add_permits(transactions);
        done += transactions;
        filled += usize::from(transactions > 0);
    }
    let cost = start.cost();
    stop.send(true)?;
    making.await??;
    Ok(Whole { cost, blocks: filled })
}

/// Hands the transfers in, each in a task of its own, as a server would.
async fn submit(pool: MempoolHandle, transfers: Vec<Vec<u8>>, in_flight: Arc<Semaphore>) {
    let asking = Arc::new(Semaphore::new(ASKING));
    for bytes in transfers {
        let permits = (in_flight.acquire().await, Arc::clone(&asking).acquire_owned().await);
        let (Ok(travelling), Ok(asked)) = permits else { return };
        travelling.forget();
        let pool = pool.clone();
        tokio::spawn(async move {
            pool.submit(bytes).await.expect("a transfer is accepted");
            drop(asked);
        });
    }
}
