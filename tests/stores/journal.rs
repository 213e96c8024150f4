//! Everything that a job writes into the journal, while power is lost at every operation of its disk.

use std::collections::BTreeSet;

use assay_manifest::JobId;
use assay_node::adapters::Journal;
use assay_node::receipts::SettlementIndex;
use assay_node::worker::Mailbox;
use assay_protocol::seal::{EncryptionKey, Envelope, Purpose};
use assay_protocol::signature::Signature;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::disk::Disk;

const REQUESTER: [u8; 32] = [1; 32];
const EXECUTOR: [u8; 32] = [2; 32];

/// What one job after the other has written: handing over, answering, settling, forgetting.
const STEPS: [fn(&Journal) -> bool; 6] = [
    |journal| journal.put(&[envelope(7, Purpose::Input, REQUESTER, EXECUTOR)]).is_ok(),
    |journal| {
        let to_itself = envelope(7, Purpose::Answer, EXECUTOR, EXECUTOR);
        let to_others = [Purpose::Work, Purpose::Answer].map(|why| envelope(7, why, EXECUTOR, REQUESTER));
        journal.put(&[[to_itself].as_slice(), &to_others].concat()).is_ok()
    },
    |journal| journal.put(&[envelope(8, Purpose::Input, REQUESTER, EXECUTOR)]).is_ok(),
    |journal| journal.extend(&[(job(7), 3)], 5).is_ok(),
    |journal| journal.forget(&job(7)).is_ok(),
    |journal| journal.extend(&[(job(8), 6)], 7).is_ok(),
];

/// All that can be read of a journal.
#[derive(Debug, PartialEq)]
struct View {
    jobs: BTreeSet<JobId>,
    received: Vec<Vec<Envelope>>,
    settled: [Option<u64>; 2],
    next: u64,
}

#[test]
fn every_write_to_the_journal_is_there_whole_or_not_at_all() {
    let undisturbed = Disk::with(vec![]);
    let journal = Journal::open_in(undisturbed.clone()).unwrap();
    let mut views = vec![view(&journal)];
    let created = undisturbed.contents();
    let before = undisturbed.operations();
    for step in STEPS {
        assert!(step(&journal));
        views.push(view(&journal));
    }
    let operations = undisturbed.operations() - before;
    assert!(operations > 20, "{operations} operations are too few to mean anything");
    let mut dice = StdRng::seed_from_u64(1);
    for cut in 0..operations {
        let disk = Disk::with(created.clone());
        let journal = Journal::open_in(disk.clone()).unwrap();
        disk.fail_after(cut);
        let acknowledged = STEPS.iter().take_while(|step| step(&journal)).count();
        drop(journal);
        let left = Journal::open_in(Disk::with(disk.after_power_loss(&mut dice))).unwrap();
        let found = view(&left);
        assert!(views[acknowledged..].iter().take(2).any(|view| *view == found), "cut {cut}: {found:?}");
    }
}

fn view(journal: &Journal) -> View {
    let mut received = vec![];
    for number in [7, 8] {
        for (purpose, recipient) in [
            (Purpose::Input, EXECUTOR),
            (Purpose::Work, REQUESTER),
            (Purpose::Answer, REQUESTER),
            (Purpose::Answer, EXECUTOR),
        ] {
            received.push(journal.received(&job(number), purpose, &recipient).unwrap());
        }
    }
    View {
        jobs: journal.jobs().unwrap(),
        received,
        settled: [7, 8].map(|number| journal.find(&job(number)).unwrap()),
        next: journal.next().unwrap(),
    }
}

fn job(number: u8) -> JobId {
    JobId::from_bytes([number; 32])
}

fn envelope(number: u8, purpose: Purpose, sender: [u8; 32], recipient: [u8; 32]) -> Envelope {
    Envelope {
        job: job(number),
        purpose,
        sender,
        recipient,
        seat: 0,
        key: EncryptionKey::from_bytes([3; 32]),
        package: vec![number; 3_000],
        signature: Signature([0; 64]),
    }
}
