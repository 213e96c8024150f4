//! A run with registrations and a whole job on each store: every block's write fails once, at every operation of
//! redb's disk and with torn files of sled's; the run goes on from what is left and ends as if nothing had happened.

use std::sync::Arc;

use assay_node::adapters::{RedbKv, SledKv};
use assay_runtime::executor::testing::{FailingKv, RecordingKv};
use assay_runtime::executor::{Entry, Kv, MemoryKv};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::disk::Disk;
use crate::market::Market;
use crate::script::open;
use crate::torn::Files;

#[test]
fn every_operation_of_redb_may_fail_in_a_whole_job() {
    let recording = Arc::new(RecordingKv::new(MemoryKv::default()));
    let mut undisturbed = open(Arc::clone(&recording)).unwrap();
    let disk = Disk::with(vec![]);
    let kv = RedbKv::open_in(disk.clone()).unwrap();
    kv.commit(recording.take()).unwrap();
    let mut dice = StdRng::seed_from_u64(1);
    let mut failures = 0;
    while undisturbed.height() == 0 || !undisturbed.is_done() {
        let (height, before) = (undisturbed.height(), (entries(&recording), disk.contents()));
        undisturbed.advance().unwrap();
        let (batch, after) = (recording.take(), entries(&recording));
        kv.commit(batch.clone()).unwrap();
        let mut left = None;
        for operations in 0.. {
            let disk = Disk::with(before.1.clone());
            let kv = RedbKv::open_in(disk.clone()).unwrap();
            disk.fail_after(operations);
            if kv.commit(batch.clone()).is_ok() {
                break;
            }
            failures += 1;
            drop(kv);
            let kv = RedbKv::open_in(Disk::with(disk.after_power_loss(&mut dice))).unwrap();
            let found = entries(&kv);
            assert!(found == before.0 || found == after, "block {height} is there in part");
            left = Some(kv);
        }
        expect_whole(&open(left.expect("the first operation failed")).unwrap(), height);
    }
    assert!(failures > 3 * undisturbed.height(), "{failures} failures in {} blocks", undisturbed.height());
    let end = open(kv).unwrap();
    assert!(end.is_done());
    assert_eq!(end.books(), undisturbed.books());
}

#[test]
fn every_write_to_sled_may_fail_or_tear_in_a_whole_job() {
    const TEARS: u32 = 3;
    let (blocks, undisturbed) = open(MemoryKv::default()).unwrap().finish().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut dice = StdRng::seed_from_u64(1);
    let written = dir.path().join("written");
    let kv = Arc::new(SledKv::open(&written).unwrap());
    drop(open(Arc::clone(&kv)).unwrap());
    for height in 0..blocks {
        let mut failing = open(FailingKv::new(Arc::clone(&kv), 0)).unwrap();
        assert!(failing.advance().unwrap_err().is_fatal());
        let before = Files::read(&written);
        let mut run = open(Arc::clone(&kv)).unwrap();
        assert_eq!(run.height(), height, "nothing of the failed write is there");
        run.advance().unwrap();
        let after = Files::read(&written);
        for tear in 0..TEARS {
            let path = dir.path().join(format!("{height}-{tear}"));
            before.torn(&after, &mut dice).write(&path);
            expect_whole(&open(SledKv::open(&path).unwrap()).unwrap(), height);
        }
    }
    let end = open(kv).unwrap();
    assert!(end.is_done());
    assert_eq!(end.books(), undisturbed);
}

fn entries(kv: &impl Kv) -> Vec<Entry> {
    kv.scan(b"", b"", usize::MAX).unwrap()
}

/// The block that was written last is there with its whole state, and at most the one that failed, too.
fn expect_whole<K: Kv>(run: &Market<K>, height: u32) {
    assert!((height..=height + 1).contains(&run.height()), "{} of {height}", run.height());
    assert!(run.net.chain.reader().at(None).unwrap().walk().unwrap() > 10);
}
