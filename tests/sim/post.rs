//! Sealed envelopes on their way: each node has a mailbox of its own, and what is put in there for somebody who lives at
//! another node is sent there, again and again for some blocks, over the same network as everything else.
//!
//! A mailbox survives the loss of power: that the node's own, the journal, does is tested with the stores.

use std::sync::{Mutex, MutexGuard, PoisonError};

use assay_manifest::JobId;
use assay_node::worker::{Mailbox, MailboxError};
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::{Envelope, Purpose};

/// Blocks in which an envelope is sent.
const SENDINGS: u32 = 12;

/// The mailbox of one node.
#[derive(Default)]
pub struct Post(Mutex<Vec<(Envelope, u32)>>);

impl Post {
    /// An envelope from another node.
    pub fn take_in(&self, envelope: Envelope) {
        keep(&mut self.lock(), envelope);
    }

    /// The envelopes that are sent in this block.
    pub fn due(&self, is_elsewhere: impl Fn(&AccountBytes) -> bool) -> Vec<Envelope> {
        let mut due = Vec::new();
        for (envelope, sent) in self.lock().iter_mut() {
            if *sent < SENDINGS && is_elsewhere(&envelope.recipient) {
                *sent += 1;
                due.push(envelope.clone());
            }
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Envelope, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep(all: &mut Vec<(Envelope, u32)>, envelope: Envelope) {
    let address = |of: &Envelope| (of.job, of.purpose, of.recipient, of.sender, of.seat);
    match all.iter_mut().find(|(there, _)| address(there) == address(&envelope)) {
        Some((there, _)) if *there == envelope => {}
        Some(there) => *there = (envelope, 0),
        None => all.push((envelope, 0)),
    }
}

impl Mailbox for Post {
    fn put(&self, envelopes: &[Envelope]) -> Result<(), MailboxError> {
        let mut all = self.lock();
        envelopes.iter().for_each(|envelope| keep(&mut all, envelope.clone()));
        Ok(())
    }

    fn received(
        &self,
        job: &JobId,
        purpose: Purpose,
        recipient: &AccountBytes,
    ) -> Result<Vec<Envelope>, MailboxError> {
        let wanted =
            |of: &&(Envelope, u32)| (of.0.job, of.0.purpose, of.0.recipient) == (*job, purpose, *recipient);
        Ok(self.lock().iter().filter(wanted).map(|(envelope, _)| envelope.clone()).collect())
    }
}
