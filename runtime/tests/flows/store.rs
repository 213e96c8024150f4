//! A store that fails at its n-th write, for every n of a run with registrations and a whole job.

use std::sync::Arc;

use assay_runtime::executor::MemoryKv;
use assay_runtime::executor::testing::FailingKv;

use crate::script::open;

#[test]
fn every_write_of_a_run_may_fail_once_and_the_state_opens_and_nothing_is_paid_twice() {
    let (blocks, undisturbed) = open(MemoryKv::default()).unwrap().finish().unwrap();
    assert!(blocks > 15, "the run holds registrations and a whole job");
    let inner = Arc::new(MemoryKv::default());
    let refused = open(FailingKv::new(Arc::clone(&inner), 0)).err().expect("the first write is the genesis");
    assert!(refused.is_fatal());
    drop(open(Arc::clone(&inner)).unwrap());
    for height in 0..blocks {
        let mut failing = open(FailingKv::new(Arc::clone(&inner), 0)).unwrap();
        assert_eq!(failing.height(), height);
        let error = failing.advance().expect_err("its only write fails");
        assert!(error.is_fatal(), "{error}");
        assert!(failing.net.propose(vec![]).is_err(), "a failed store is not used again");
        drop(failing);
        let mut again = open(Arc::clone(&inner)).unwrap();
        assert_eq!(again.height(), height, "whole blocks, and none that failed");
        assert!(again.net.chain.reader().at(None).unwrap().walk().unwrap() > 10);
        again.advance().unwrap();
    }
    let end = open(inner).unwrap();
    assert!(end.is_done());
    assert_eq!(end.books(), undisturbed);
}
