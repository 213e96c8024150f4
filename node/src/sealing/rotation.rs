//! When a key is replaced, and when it is deleted: a pure reading of the ledger and the ring.

use std::collections::BTreeSet;

use assay_protocol::party::AccountBytes;
use assay_protocol::seal::EncryptionKey;

use super::ring::{HeldKey, KeyUse};

/// Blocks after which a key that was made to ask for data, and that no job on the ledger names, is given up: its
/// step never came into a block.
const ASKED_BLOCKS: u32 = 600;

/// What the ledger says of one of this node's accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The account.
    pub account: AccountBytes,
    /// Its encryption key.
    pub key: EncryptionKey,
    /// Height since which.
    pub since: u32,
}

/// Something to be done about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Publish another key for an account.
    Replace {
        /// The account with its present key.
        published: Published,
        /// One that was made for it and never came onto the ledger.
        ready: Option<EncryptionKey>,
    },
    /// Delete a key.
    Forget(EncryptionKey),
}

/// What is to be done at height `now`. `window` is how long a key stays published, `named` are the keys that jobs
/// on the ledger name.
pub fn plan(
    now: u32,
    window: u32,
    published: &[Published],
    held: &[HeldKey],
    named: &BTreeSet<EncryptionKey>,
) -> Vec<Action> {
    let replaced = published.iter().filter(|published| published.since.saturating_add(window) <= now);
    let replaced = replaced.map(|published| {
        let ready = held.iter().find(|held| is_ready(held, published)).map(|held| held.key);
        Action::Replace { published: *published, ready }
    });
    let done = held.iter().filter(|held| !named.contains(&held.key)).filter(|held| match held.made_for {
        KeyUse::Published => is_replaced(held, published),
        KeyUse::Need => held.made_at.saturating_add(ASKED_BLOCKS) <= now,
    });
    replaced.chain(done.map(|held| Action::Forget(held.key))).collect()
}

/// Whether a key waits to be published: it is younger than the one that is.
fn is_ready(held: &HeldKey, published: &Published) -> bool {
    held.made_for == KeyUse::Published
        && held.account == published.account
        && held.key != published.key
        && held.made_at >= published.since
}

/// Whether another key has taken its place. Of an account that the ledger does not know, nothing is deleted.
fn is_replaced(held: &HeldKey, published: &[Published]) -> bool {
    published
        .iter()
        .find(|published| published.account == held.account)
        .is_some_and(|published| published.key != held.key && held.made_at < published.since)
}

#[cfg(test)]
mod tests {
    use assay_manifest::Digest32;

    use super::*;

    const ACCOUNT: AccountBytes = [1; 32];

    fn key(byte: u8) -> EncryptionKey {
        Digest32::from_bytes([byte; 32])
    }

    fn published(byte: u8, since: u32) -> Published {
        Published { account: ACCOUNT, key: key(byte), since }
    }

    fn held(byte: u8, made_for: KeyUse, made_at: u32) -> HeldKey {
        HeldKey { key: key(byte), account: ACCOUNT, made_for, made_at }
    }

    #[test]
    fn a_key_is_replaced_when_its_window_has_passed_by_the_one_that_is_ready() {
        let now = published(1, 100);
        let own = [held(1, KeyUse::Published, 90)];
        let named = BTreeSet::new();
        assert_eq!(plan(199, 100, &[now], &own, &named), []);
        assert_eq!(plan(200, 100, &[now], &own, &named), [Action::Replace { published: now, ready: None }]);
        let both = [own[0], held(2, KeyUse::Published, 200)];
        let ready = Some(key(2));
        assert_eq!(plan(201, 100, &[now], &both, &named), [Action::Replace { published: now, ready }]);
    }

    #[test]
    fn a_replaced_key_is_deleted_when_no_job_names_it_any_more() {
        let [old, new] = [held(1, KeyUse::Published, 0), held(2, KeyUse::Published, 100)];
        let now = published(2, 101);
        let named = BTreeSet::from([key(1)]);
        assert_eq!(plan(150, 100, &[now], &[old, new], &named), []);
        assert_eq!(plan(150, 100, &[now], &[old, new], &BTreeSet::new()), [Action::Forget(key(1))]);
        assert_eq!(plan(150, 100, &[], &[old, new], &BTreeSet::new()), [], "nothing is known of the account");
    }

    #[test]
    fn a_key_that_asked_for_data_lives_as_long_as_its_job_and_some_blocks_at_least() {
        let asked = [held(3, KeyUse::Need, 10)];
        let named = BTreeSet::from([key(3)]);
        assert_eq!(plan(10 + ASKED_BLOCKS - 1, 9_999, &[], &asked, &BTreeSet::new()), []);
        assert_eq!(plan(10 + ASKED_BLOCKS, 9_999, &[], &asked, &named), []);
        assert_eq!(plan(10 + ASKED_BLOCKS, 9_999, &[], &asked, &BTreeSet::new()), [Action::Forget(key(3))]);
    }
}
