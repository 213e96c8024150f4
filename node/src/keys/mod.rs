//! Who may spend, and what a machine may do without being able to.
//!
//! An account's secret is a mnemonic. It lies in the keystore encrypted under a passphrase, is decrypted for the
//! length of one command, and signs transactions only. What a node does day and night has keys of its own, which
//! the account names on the ledger once and can replace there:
//!
//! | key | kept in `keystore/` | signs or opens |
//! |---|---|---|
//! | account | `NAME.json`, encrypted | transactions: payments, stake, offers, the names of the keys below |
//! | work | `roles/work-ADDRESS.json` | an account's job steps |
//! | consensus | `roles/consensus.json` | a validator's blocks and verdicts |
//! | VRF | `roles/vrf.json` | a validator's part of the beacon |
//! | encryption | `roles/encryption.json` | what is sealed to a validator that referees |
//! | receipts | `roles/receipts.json` | receipts of `assay run`; it owns nothing |
//!
//! Role keys lie unencrypted, because a machine has to start while nobody watches it. None tells anything of the
//! account's: each is drawn by itself. Whoever steals a work key can forfeit the bonds of open jobs, and no more.
//!
//! Secrets live in types that overwrite their memory, are never printed by `Debug`, and come from a terminal, a
//! file or standard input: never from arguments or the environment, which other users of a machine can read.

mod error;
mod passphrase;
mod words;
mod reference;
mod key;
mod key_file;
mod store;
mod roles;

pub use error::KeyError;
pub use key::Key;
pub use key_file::{Cost, LockedKey};
pub use passphrase::Passphrase;
pub use reference::KeyRef;
pub use roles::{PublishedKeys, Role, RoleKeys, Seed, Seller};
pub use store::Keystore;
pub use words::{WordCount, Words};
