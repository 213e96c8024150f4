//! Committing to an artifact before it is registered.

use std::path::PathBuf;

use assay_manifest::priority::commitment;
use assay_manifest::{ArtifactId, ArtifactKind, Digest32};
use assay_protocol::units::Height;
use assay_runtime::{AccountId, Runtime};
use clap::Args;
use rand::RngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

use super::register::{Files, import};
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::tokens;
use crate::cli::table;
use crate::client::{Client, Prior};
use crate::data_dir::{read_json, write_json};
use crate::keys::Key;

/// Commit to files without naming them; registering them later shows since when you had them.
#[derive(Debug, Args)]
pub struct Commit {
    /// File or directory on the node's machine.
    path: PathBuf,
}

/// What opens a commitment. Whoever loses it cannot show since when it had the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kept {
    artifact_id: ArtifactId,
    account: AccountId,
    salt: Digest32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    artifact_id: ArtifactId,
    #[serde(flatten)]
    prior: Prior,
    file: PathBuf,
}

impl Commit {
    /// Imports and commits.
    ///
    /// # Errors
    /// [`Failure`] when the files cannot be imported, or the ledger refuses.
    pub async fn run(self, context: &Context, kind: ArtifactKind) -> Result<(), Failure> {
        let key = context.key()?;
        let client = context.client().await?;
        let files = Files { path: &self.path, kind, name: None, expected: None };
        let artifact_id = import(context, &client, files).await?.artifact_id;
        let file = Kept::file(context, artifact_id, &key.account())?;
        let kept = Kept::make(&file, artifact_id, key.account())?;
        let commitment = kept.commitment();
        let known = client.commitments(&key.account()).await?;
        if !known.iter().any(|prior| prior.commitment == commitment) {
            let held = pallet_assay_artifacts::Pallet::<Runtime>::deposit(0);
            context.confirm(&format!("{} are held as a deposit until you register", tokens(held)))?;
            client.commit_prior(&key, commitment).await?;
        }
        let mut known = client.commitments(&key.account()).await?;
        known.retain(|prior| prior.commitment == commitment);
        let Some(prior) = known.pop() else {
            let cause = format!("committing to {artifact_id}: the node does not show it");
            return Err(Failure::new(Exit::Internal, cause));
        };
        context.output().result(&Committed { artifact_id, prior, file }, committed_text)?;
        Ok(())
    }
}

fn committed_text(committed: &Committed) -> String {
    let Committed { artifact_id, prior, file } = committed;
    table::fields(&[
        ("artifact", artifact_id.to_string()),
        ("commitment", prior.commitment.to_string()),
        ("committed", format!("at height {}, log entry {}", prior.at, prior.log_index)),
        ("kept in", file.display().to_string()),
        ("next", format!("register the files between heights {} and {}", prior.opens_at, prior.expires_at)),
    ])
}

impl Kept {
    fn file(context: &Context, artifact: ArtifactId, account: &AccountId) -> Result<PathBuf, Failure> {
        let (artifact, account) = (hex::encode(artifact.as_bytes()), hex::encode(account));
        Ok(context.chain_dir()?.join("commitments").join(format!("{artifact}-{account}.json")))
    }

    /// What is kept for these files, or a fresh salt, which is on the disk before the ledger hears of it.
    fn make(file: &std::path::Path, artifact_id: ArtifactId, account: AccountId) -> Result<Self, Failure> {
        if file.exists() {
            return Ok(read_json(file)?);
        }
        let mut salt = [0; 32];
        OsRng.fill_bytes(&mut salt);
        let kept = Self { artifact_id, account, salt: Digest32::from_bytes(salt) };
        write_json(file, &kept)?;
        Ok(kept)
    }

    fn commitment(&self) -> Digest32 {
        commitment(&self.artifact_id, self.account.as_ref(), &self.salt)
    }

    /// What a registration opens, if its account has committed to the artifact from here.
    ///
    /// # Errors
    /// [`Failure`] when the commitment cannot be opened yet: registering now would give it up.
    pub async fn opening(
        context: &Context,
        client: &Client,
        key: &Key,
        artifact: ArtifactId,
    ) -> Result<Option<(ArtifactId, Digest32)>, Failure> {
        let file = Self::file(context, artifact, &key.account())?;
        if !file.exists() {
            return Ok(None);
        }
        let kept: Self = read_json(&file)?;
        let known = client.commitments(&key.account()).await?;
        let Some(prior) = known.iter().find(|prior| prior.commitment == kept.commitment()) else {
            return Ok(None);
        };
        // The registration stands in the next block at the earliest.
        let height = Height::new(client.height().await?.saturating_add(1));
        if height < prior.opens_at {
            return Err(too_young(artifact, prior));
        }
        Ok((height <= prior.expires_at).then_some((artifact, kept.salt)))
    }
}

fn too_young(artifact: ArtifactId, prior: &Prior) -> Failure {
    let Prior { commitment, at, opens_at, .. } = prior;
    Failure::usage(format!(
        "registering {artifact}: your commitment of height {at} cannot be opened before height {opens_at}"
    ))
    .hint(format!(
        "register at that height, or give it up with `assay model commitments --withdraw {commitment}`"
    ))
}

/// List your commitments that are not opened, or give one up.
#[derive(Debug, Args)]
pub struct Commitments {
    /// Give this one up and take its deposit back.
    #[arg(long, value_name = "COMMITMENT")]
    withdraw: Option<Digest32>,
}

impl Commitments {
    /// Lists; what is left after a withdrawal.
    ///
    /// # Errors
    /// [`Failure`] when the node or the ledger refuses.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let key = context.key()?;
        let client = context.client().await?;
        if let Some(commitment) = self.withdraw {
            client.withdraw_prior(&key, key.account(), commitment).await?;
        }
        let commitments = client.commitments(&key.account()).await?;
        context.output().result(&commitments, |commitments| commitments_text(commitments))?;
        Ok(())
    }
}

fn commitments_text(commitments: &[Prior]) -> String {
    if commitments.is_empty() {
        return "your account has no commitments".into();
    }
    let row = |prior: &Prior| {
        [
            prior.commitment.to_string(),
            prior.at.to_string(),
            prior.opens_at.to_string(),
            prior.expires_at.to_string(),
        ]
    };
    let rows: Vec<_> = commitments.iter().map(row).collect();
    table::table(["COMMITMENT", "HEIGHT", "OPENS", "EXPIRES"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("commitments/one.json");
        let account = AccountId::new([2; 32]);
        let made = Kept::make(&file, ArtifactId::from_bytes([1; 32]), account.clone()).unwrap();
        let again = Kept::make(&file, ArtifactId::from_bytes([1; 32]), account).unwrap();
        assert_eq!(made, again, "the commitment on the ledger must stay the one that is kept");
        assert_ne!(made.salt, Digest32::ZERO);
    }
}
