//! `assay artifact`: bring artifacts from other nodes, and say what stays.

use assay_manifest::Digest32;
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use sp_core::crypto::Ss58Codec;

use crate::blobs::{Progress, Stage};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output::parse_bytes;
use crate::cli::{progress, table};
use crate::client::{Imported, StoredArtifact};
use crate::rpc::Collected;

/// What is to be done with artifacts of the node's store.
#[derive(Debug, Subcommand)]
pub enum ArtifactCommand {
    /// Fetch a model or dataset from other nodes into the node's store; every id is computed anew.
    Fetch(Fetch),
    /// Keep one when the store has to shrink.
    Pin(Reference),
    /// Let one go when the store has to shrink; one that a provider offers stays all the same.
    Unpin(Reference),
    /// Remove what belongs to nothing, and with --cap what was used least recently and nothing keeps.
    Gc(Gc),
}

impl ArtifactCommand {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] when the node refuses, or nobody gives the artifact.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Fetch(fetch) => fetch.run(context).await,
            Self::Pin(reference) => {
                let pinned = context.client().await?.pin_artifact(&reference.text(context)?).await?;
                Ok(context.output().result(&pinned, |pinned| subject_text("pinned", pinned))?)
            }
            Self::Unpin(reference) => {
                let unpinned = context.client().await?.unpin_artifact(&reference.text(context)?).await?;
                Ok(context.output().result(&unpinned, |unpinned| subject_text("unpinned", unpinned))?)
            }
            Self::Gc(gc) => gc.run(context).await,
        }
    }
}

/// An artifact that is named.
#[derive(Debug, Args)]
pub struct Reference {
    /// Artifact, weights or model id, or ACCOUNT/NAME.
    #[arg(value_name = "ID|ACCOUNT/NAME")]
    reference: String,
}

impl Reference {
    /// As the node understands it: an id, or the account's address and the name.
    fn text(&self, context: &Context) -> Result<String, Failure> {
        let reference = &self.reference;
        if reference.parse::<Digest32>().is_ok() {
            return Ok(reference.clone());
        }
        let Some((account, name)) = reference.rsplit_once('/') else {
            return Err(Failure::usage(format!(
                "looking up {reference:?}: it is neither an id nor ACCOUNT/NAME"
            ))
            .hint("list what is registered with `assay model list`, and what is here with --local"));
        };
        Ok(format!("{}/{name}", context.account_of(account)?.to_ss58check()))
    }
}

/// Arguments of `assay artifact fetch`.
#[derive(Debug, Args)]
pub struct Fetch {
    #[command(flatten)]
    reference: Reference,
    /// Keep it when the store has to shrink.
    #[arg(long)]
    pin: bool,
}

impl Fetch {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, id) = (context.client().await?, self.reference.text(context)?);
        let bar = progress::bytes(context.output(), "fetching");
        let fetched = client.fetch_artifact(&id, |now: &Progress| {
            bar.set_message(match now.stage {
                Stage::Finding => "looking for holders",
                Stage::Fetching => "fetching",
                Stage::Checking => "checking",
            });
            bar.set_length(now.total_bytes);
            bar.set_position(now.done_bytes);
        });
        let fetched = fetched.await;
        bar.finish_and_clear();
        let fetched = fetched?;
        if self.pin {
            client.pin_artifact(&fetched.artifact_id.to_string()).await?;
        }
        Ok(context.output().result(&fetched, fetched_text)?)
    }
}

/// Arguments of `assay artifact gc`.
#[derive(Debug, Args)]
pub struct Gc {
    /// Bytes that the store may have afterwards, such as 20000000000 or 20G.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    cap: Option<u64>,
}

impl Gc {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let collected = context.client().await?.collect_artifacts(self.cap).await?;
        Ok(context.output().result(&collected, collected_text)?)
    }
}

fn subject_text(done: &'static str, subject: &StoredArtifact) -> String {
    table::fields(&[(done, subject.artifact_id.to_string())])
}

fn fetched_text(fetched: &Imported) -> String {
    let mut rows = vec![("artifact", fetched.artifact_id.to_string())];
    rows.extend(fetched.weights_id.map(|weights| ("weights", weights.to_string())));
    rows.extend(fetched.model_id.map(|model| ("model", model.to_string())));
    rows.extend(fetched.spec_id.map(|spec| ("spec", spec.to_string())));
    let files = table::count(fetched.manifest.files().len(), "file");
    rows.push(("content", format!("{} in {files}", HumanBytes(fetched.size_bytes))));
    table::fields(&rows)
}

fn collected_text(collected: &Collected) -> String {
    let Collected { artifacts, garbage_blobs, freed_bytes, left_bytes } = collected;
    let mut rows: Vec<_> = artifacts.iter().map(|artifact| ("removed", artifact.to_string())).collect();
    rows.push(("garbage", table::count(*garbage_blobs, "blob")));
    rows.push(("freed", HumanBytes(*freed_bytes).to_string()));
    rows.push(("left", HumanBytes(*left_bytes).to_string()));
    table::fields(&rows)
}
