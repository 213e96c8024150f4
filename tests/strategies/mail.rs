//! Sealed envelopes on their way, in memory; and what a party opens them with.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use assay_manifest::JobId;
use assay_node::sealing::KeyRing;
use assay_node::worker::{Desk, Mailbox, MailboxError};
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::{Envelope, Purpose, SealingSecret};

type Address = (JobId, Purpose, AccountBytes);

/// All the mail of a market. Everybody may put in, and only who has the key can read.
#[derive(Default)]
pub struct Mail(Mutex<HashMap<Address, Vec<Envelope>>>);

impl Mailbox for Mail {
    fn put(&self, envelopes: &[Envelope]) -> Result<(), MailboxError> {
        let mut mail = self.0.lock().expect("a lock");
        for envelope in envelopes {
            let there = mail.entry((envelope.job, envelope.purpose, envelope.recipient)).or_default();
            there.retain(|other| (other.sender, other.seat) != (envelope.sender, envelope.seat));
            there.push(envelope.clone());
        }
        Ok(())
    }

    fn received(
        &self,
        job: &JobId,
        purpose: Purpose,
        recipient: &AccountBytes,
    ) -> Result<Vec<Envelope>, MailboxError> {
        Ok(self.0.lock().expect("a lock").get(&(*job, purpose, *recipient)).cloned().unwrap_or_default())
    }
}

/// A desk of one party, whose published key is this.
pub fn desk(mail: &Arc<Mail>, dir: &Path, secret: SealingSecret) -> Desk {
    let ring = KeyRing::open(dir.to_owned(), vec![secret]).expect("a ring of keys");
    Desk { mailbox: Arc::clone(mail) as _, ring: Arc::new(ring) }
}
