//! `assay node init`: a chain of one's own, and the keys of its authority.

use std::path::{Path, PathBuf};

use assay_manifest::Digest32;
use assay_runtime::{AccountId, Endowment, UNIT};
use clap::Args;
use serde::Serialize;

use crate::chain_spec::ChainSpec;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::consensus::ValidatorKeys;
use crate::data_dir::{DataDir, LedgerStore};
use crate::keys::Keystore;

/// Create a chain of your own.
#[derive(Debug, Args)]
pub struct Init {
    /// Name of the chain and its directory: lowercase letters, digits and `-`.
    id: String,
    /// The account that has all tokens: an address, or a key of the keystore.
    #[arg(long, value_name = "ACCOUNT")]
    endow: String,
    /// How many tokens.
    #[arg(long, value_name = "ASY", default_value_t = 1_000_000_000)]
    tokens: u64,
    /// What keeps the ledger.
    #[arg(long, value_name = "redb|sled", default_value = "redb")]
    store: LedgerStore,
}

#[derive(Serialize)]
struct Initialised {
    id: String,
    directory: PathBuf,
    endowed: AccountId,
}

impl Init {
    /// Creates it.
    ///
    /// # Errors
    /// [`Failure`] when its name is bad or taken, or its directory cannot be written.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let base = context.base()?;
        let root = self.free_root(&base)?;
        let endowed = context.account_of(&self.endow)?;
        // On disk before the chain is: a chain without them can never go on.
        let authority = ValidatorKeys::load_or_create(&Keystore::new(root.join("keystore")).roles())?;
        let seed = Digest32::from_bytes(rand::random()).to_string();
        let amount = u128::from(self.tokens).saturating_mul(UNIT);
        let endowments = vec![Endowment { account: endowed.clone(), amount }];
        let spec = ChainSpec::single(&self.id, seed, (&authority, endowed.clone()), endowments);
        let data = DataDir::create(&base, &spec, Some(self.store))?;
        let done = Initialised { id: self.id, directory: data.root().to_owned(), endowed };
        context.output().result(&done, |done| {
            format!(
                "chain {} in {}\nrun it with `assay node --chain {}`",
                done.id,
                done.directory.display(),
                done.id
            )
        })?;
        Ok(())
    }

    /// The directory of the chain, in which there is none yet.
    fn free_root(&self, base: &Path) -> Result<PathBuf, Failure> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.id.is_empty()
            || self.id.len() > 32
            || !self.id.chars().all(allowed)
            || self.id == ChainSpec::DEVELOPMENT
        {
            return Err(Failure::usage(format!("naming a chain {:?}", self.id))
                .hint("use up to 32 lowercase letters, digits and '-'; `dev` is the development chain"));
        }
        let root = base.join(&self.id);
        if root.join("VERSION").exists() {
            return Err(Failure::usage(format!("creating {}: it exists", root.display()))
                .hint("choose another name, or run it with `assay node --chain NAME`"));
        }
        DataDir::check_free(&root)?;
        Ok(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::parse;

    fn init(base: &Path) -> Result<(), Failure> {
        let (context, init) = parse::<Init>(base, &["own", "--endow", "//Alice"]);
        init.run(&context)
    }

    fn public_keys(root: &Path) -> (Digest32, Digest32) {
        let data = DataDir::open(root).unwrap();
        let keys = ValidatorKeys::load(&data.keystore().roles()).unwrap().unwrap();
        (data.chain_spec().unwrap().genesis.validators[0].key, keys.public())
    }

    #[test]
    fn a_chain_has_the_keys_of_its_authority_even_if_its_creation_was_cut_off() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("own");
        let early =
            ValidatorKeys::load_or_create(&Keystore::new(root.join("keystore")).roles()).unwrap().public();
        init(base.path()).unwrap();
        assert_eq!(public_keys(&root), (early, early));
        std::fs::remove_file(root.join("VERSION")).unwrap();
        init(base.path()).unwrap();
        assert_eq!(public_keys(&root), (early, early));
    }

    #[test]
    fn neither_a_chain_nor_somebodys_files_are_overwritten() {
        let base = tempfile::tempdir().unwrap();
        init(base.path()).unwrap();
        let before = public_keys(&base.path().join("own"));
        assert!(init(base.path()).unwrap_err().cause().contains("it exists"));
        assert_eq!(public_keys(&base.path().join("own")), before);
        let other = tempfile::tempdir().unwrap();
        std::fs::create_dir(other.path().join("own")).unwrap();
        std::fs::write(other.path().join("own/thesis.txt"), "important").unwrap();
        assert!(init(other.path()).is_err());
        assert!(!other.path().join("own/keystore").exists());
    }
}
