//! Blocks by themselves: executed, built, imported.

use std::path::Path;

use assay_manifest::Digest32;
use assay_node::adapters::RedbKv;
use assay_node::chain_spec::{ChainSpec, development_authority};
use assay_node::consensus::certify;
use assay_runtime::executor::{Chain, ChainError, Proposal, Retention, on_big_stack};
use assay_runtime::{Block, GenesisSpec, UncheckedExtrinsic, own_extrinsics};
use codec::{Decode, Encode};
use pallet_assay_validators::{vrf_input, vrf_sign};

use crate::cost::Cost;
use crate::crowd::Crowd;

/// Transactions offered to a block: more than fit.
const OFFERED: usize = 4_000;
/// Milliseconds of block 0.
const START_MS: u64 = 1_800_000_000_000;

/// What was measured of each kind, over all blocks.
pub struct Blocks {
    /// The fewest transfers of a block.
    pub per_block: usize,
    /// All transfers.
    pub transfers: usize,
    pub executed: Cost,
    pub built: Cost,
    pub imported: Cost,
    pub imported_known: Cost,
}

/// One chain builds, and knows its signatures from then on; another only imports.
pub fn measure(crowd: &Crowd, dir: &Path, blocks: usize) -> Result<Blocks, Box<dyn std::error::Error>> {
    let genesis = crowd.endowed(ChainSpec::development()?.genesis);
    let mut maker = open(dir, "maker", &genesis)?;
    let mut importer = open(dir, "importer", &genesis)?;
    let [mut built, mut executed, mut imported_known, mut imported] = [Cost::default(); 4];
    let (mut transfers, mut per_block) = (0, usize::MAX);
    for _ in 0..blocks {
        let offered = crowd.transfers(maker.genesis(), 0, transfers..(transfers + OFFERED).min(crowd.len()));
        let (proposal, cost) = Cost::of(|| on_big_stack(|| propose(&maker, offered)));
        let block = proposal??.block;
        built += cost;
        let count = block.extrinsics.len() - own_extrinsics(block.header.number);
        (transfers, per_block) = (transfers + count, per_block.min(count));
        let [ran, wrote] = import(&mut maker, &block)?;
        executed += ran;
        imported_known += ran;
        imported_known += wrote;
        import(&mut importer, &block)?.into_iter().for_each(|part| imported += part);
    }
    Ok(Blocks { per_block, transfers, executed, built, imported, imported_known })
}

fn open(dir: &Path, name: &str, genesis: &GenesisSpec) -> Result<Chain<RedbKv>, ChainError> {
    let kv = RedbKv::open(&dir.join(name))?;
    Chain::open(kv, genesis, Retention::Window(256))
}

fn propose(chain: &Chain<RedbKv>, offered: Vec<UncheckedExtrinsic>) -> Result<Proposal, ChainError> {
    let head = chain.head().number;
    let answer = chain.reader().at(None)?.call("LedgerApi_randomness", &head.encode())?;
    let previous = Option::<Digest32>::decode(&mut answer.as_slice()).ok().flatten().unwrap_or_default();
    let genesis = Digest32::from_bytes(chain.genesis().0);
    let item = vrf_sign(&development_authority().vrf, 0, vrf_input(&genesis, head + 1, &previous));
    chain.propose(START_MS + u64::from(head) * 1_000, vec![item], offered)
}

/// What execution costs, and the durable write.
fn import(chain: &mut Chain<RedbKv>, block: &Block) -> Result<[Cost; 2], ChainError> {
    on_big_stack(|| {
        let (executed, ran) = Cost::of(|| chain.verify(block));
        let genesis = Digest32::from_bytes(chain.genesis().0);
        let certificate = certify(&development_authority().consensus, &genesis, &block.header);
        let (written, wrote) = Cost::of(|| chain.commit(block, executed?, &certificate));
        written.map(|()| [ran, wrote])
    })?
}
