//! Time of proving an entry of a long log over redb: from kept subtrees, and from all entries for comparison.
//!
//! `cargo run --release -p assay-runtime --example log_proofs`

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "weights/store.rs"]
mod store;

use std::time::{Duration, Instant};

use assay_manifest::merkle::{self, InclusionProof};
use assay_manifest::{ArtifactId, Digest32};
use assay_runtime::RuntimeCall;
use assay_runtime::executor::{Retention, on_big_stack};
use pallet_assay_artifacts::{Call, Subject};
use store::RedbKv;
use support::{Network, alice};

/// Entries of the log.
const ENTRIES: u32 = 100_000;
/// Registrations of one block.
const PER_BLOCK: u32 = 250;
/// Entries that are proved, spread over the log.
const PROOFS: u64 = 1_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let mut net = Network::open(RedbKv::create(&dir.path().join("ledger"))?, Retention::Window(16))?;
    for first in (0..ENTRIES).step_by(PER_BLOCK as usize) {
        let signed = (first..first + PER_BLOCK).map(|n| net.sign_at(&alice(), n, register(n))).collect();
        on_big_stack(|| {
            let proposal = net.propose(signed)?;
            assert_eq!(support::transactions(&proposal.block).len() as u32, PER_BLOCK);
            net.commit(&proposal.block, proposal.executed)
        })??;
    }
    let (size, root): (u64, Digest32) = net.call("LedgerApi_log", ());
    let reader = net.chain.reader();
    let mut kept = Duration::ZERO;
    for index in (0..size).step_by((size / PROOFS) as usize) {
        let start = Instant::now();
        let proof = reader.log_inclusion(index, size)?;
        kept += start.elapsed();
        let entry = reader.log_entries(index, 1)?.remove(0);
        proof.verify(&merkle::leaf_hash(&entry), &root)?;
    }
    let start = Instant::now();
    let leaves: Vec<Digest32> =
        reader.log_entries(0, size as usize)?.iter().map(|entry| merkle::leaf_hash(entry)).collect();
    let from_all = InclusionProof::of(&leaves, size / 3)?;
    let whole = start.elapsed();
    assert_eq!(from_all, reader.log_inclusion(size / 3, size)?);
    println!(
        "{size} entries: {:?} a proof from kept subtrees, {whole:?} from all entries",
        kept / PROOFS as u32
    );
    Ok(())
}

fn register(n: u32) -> RuntimeCall {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&n.to_le_bytes());
    RuntimeCall::Artifacts(Call::register {
        subject: Subject::Dataset(ArtifactId::from_bytes(id)),
        size_bytes: 1,
        name: format!("set-{n}").into_bytes().try_into().expect("a short name"),
        license: Default::default(),
    })
}
