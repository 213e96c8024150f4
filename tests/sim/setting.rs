//! What all nodes of a run share.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use assay_manifest::Digest32;
use assay_node::adapters::RedbKv;
use assay_node::consensus::bft::Signatures;
use assay_node::ledger;
use assay_runtime::GenesisSpec;
use assay_runtime::executor::Retention;
use malachite_app::types::Keypair;
use malachite_core_consensus::PeerId;
use tokio::runtime::Runtime;

use crate::disk::Disk;
use crate::memo::Memo;
use crate::model::Lab;
use crate::power::{Drive, Power};

/// What all nodes of a run share.
pub struct Setting {
    pub genesis: GenesisSpec,
    pub genesis_hash: Digest32,
    pub block_time: Duration,
    /// Drives every future to its end before anything else happens.
    pub tokio: Rc<Runtime>,
    /// Virtual time, in milliseconds.
    pub now_ms: Arc<AtomicU64>,
    /// A ledger's disk with the first state on it.
    pub first_disk: Vec<u8>,
    pub peers: Vec<PeerId>,
    pub lab: Arc<Lab>,
    pub memo: Memo,
}

impl Setting {
    pub fn new(genesis: GenesisSpec, block_time: Duration, nodes: usize, lab: Arc<Lab>) -> Self {
        let (disk, power) = (Disk::with(Vec::new()), Power::default());
        let kv = RedbKv::open_in(Drive::new(disk.clone(), power.clone())).expect("a new store");
        let first = ledger::open(kv, &genesis, ledger_config()).expect("a new ledger");
        let genesis_hash = Digest32::from_bytes(first.handle.genesis().0);
        // Its threads may take a while to let go, and then they write nothing more.
        power.cut();
        drop(first);
        let tokio = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let now_ms = Arc::default();
        let peers = (0..nodes).map(peer).collect();
        Self {
            genesis,
            genesis_hash,
            block_time,
            tokio: Rc::new(tokio),
            now_ms,
            first_disk: disk.contents(),
            peers,
            lab,
            memo: Memo::new(Signatures { genesis: genesis_hash }),
        }
    }

    pub fn signatures(&self) -> Signatures {
        Signatures { genesis: self.genesis_hash }
    }
}

fn peer(number: usize) -> PeerId {
    let keypair = Keypair::ed25519_from_bytes([number as u8 + 1; 32]).expect("a key");
    PeerId::from_bytes(&keypair.public().to_peer_id().to_bytes()).expect("a peer's id")
}

/// How every node keeps its ledger.
pub fn ledger_config() -> ledger::Config {
    ledger::Config { retention: Retention::Window(64), readers: 1, ..Default::default() }
}
