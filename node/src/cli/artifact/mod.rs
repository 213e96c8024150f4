//! What `assay model` and `assay dataset` have in common, and `assay artifact`.

mod commit;
mod keep;
mod register;

use assay_manifest::status::{Reason, StatusKind};
use assay_manifest::{ArtifactKind, Digest32, ModelId};
use assay_runtime::AccountId;
use clap::Args;
use indicatif::HumanBytes;
use sp_core::crypto::Ss58Codec;

use super::context::Context;
use super::failure::Failure;
use super::table;
use crate::client::{Artifact, Client, Registration, StatedEdge, StatedStatus};
use crate::rpc::LocalArtifact;

pub use commit::{Commit, Commitments};
pub use keep::ArtifactCommand;
pub use register::Register;

fn ids(registration: &Registration) -> Vec<(&'static str, String)> {
    let mut rows = vec![("artifact", registration.artifact_id.to_string())];
    rows.extend(registration.parts.map(|parts| ("weights", parts.weights_id.to_string())));
    rows.extend(registration.model_id.map(|model| ("model", model.to_string())));
    rows
}

/// Lines of an edge: how it is made, from what, by what name, and what its account says of it now.
fn edge_rows(title: &'static str, stated: &StatedEdge) -> Vec<(&'static str, String)> {
    let StatedEdge { edge, log_index, status, .. } = stated;
    let made = format!("{}, {}, log entry {log_index}", edge.kind.name(), edge.evidence.label());
    let mut rows = vec![(title, made), ("", edge.parent.to_string())];
    rows.extend(status.iter().map(|status| ("", status_text(status))));
    rows
}

/// What is said of a claim or key now, in a line.
pub fn status_text(status: &StatedStatus) -> String {
    let StatedStatus { kind, reason, at, log_index } = status;
    format!("{}, at height {at}, log entry {log_index}", status_words(kind, *reason))
}

/// What is said, and why, in words.
pub fn status_words(kind: &StatusKind, reason: Reason) -> String {
    let said = match kind {
        StatusKind::Withdrawn => "withdrawn".to_owned(),
        StatusKind::Superseded { by } => format!("superseded by {by}"),
        StatusKind::Revoked => "revoked".to_owned(),
        StatusKind::CompromisedSince { height } => format!("compromised since height {height}"),
    };
    match reason {
        Reason::Unspecified => said,
        reason => format!("{said} ({})", reason.name()),
    }
}

/// List what is registered, or what the node has.
#[derive(Debug, Args)]
pub struct List {
    /// List what is in the node's store instead of what is registered.
    #[arg(long)]
    local: bool,
}

impl List {
    /// Lists.
    ///
    /// # Errors
    /// [`Failure`] when the node cannot be asked.
    pub async fn run(self, context: &Context, kind: ArtifactKind) -> Result<(), Failure> {
        let client = context.client().await?;
        if self.local {
            let mut local = client.local_artifacts().await?;
            local.retain(|artifact| artifact.kind == kind);
            context.output().result(&local, |local| local_text(local))?;
        } else {
            let mut registered = client.registrations().await?;
            registered.retain(|entry| entry.kind == kind);
            context.output().result(&registered, |registered| registrations_text(registered))?;
        }
        Ok(())
    }
}

fn local_text(local: &[LocalArtifact]) -> String {
    if local.is_empty() {
        return "nothing of this kind is in the node's store".into();
    }
    let row = |artifact: &LocalArtifact| {
        let name = artifact.name.as_ref().map_or_else(|| "-".into(), ToString::to_string);
        let pins = if artifact.pins.is_empty() { "-".into() } else { artifact.pins.join(", ") };
        [artifact.artifact_id.to_string(), HumanBytes(artifact.size_bytes).to_string(), name, pins]
    };
    table::table(["ARTIFACT", "SIZE", "NAME", "PINNED BY"], &local.iter().map(row).collect::<Vec<_>>())
}

fn registrations_text(registered: &[Registration]) -> String {
    if registered.is_empty() {
        return "nothing of this kind is registered".into();
    }
    let row = |entry: &Registration| {
        let name = format!("{}/{}", entry.account, table::plain(&entry.name));
        [
            name,
            HumanBytes(entry.size_bytes).to_string(),
            entry.at.to_string(),
            table::short(entry.artifact_id),
            entry.status.as_ref().map_or_else(|| "-".into(), |now| status_words(&now.kind, now.reason)),
        ]
    };
    table::table(
        ["NAME", "SIZE", "HEIGHT", "ARTIFACT", "STATUS"],
        &registered.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Show what ledger and node know of one.
#[derive(Debug, Args)]
pub struct Show {
    /// Artifact, weights or model id, ACCOUNT/NAME, or NAME: of your account, or in the node's store.
    #[arg(value_name = "ID|ACCOUNT/NAME|NAME")]
    reference: String,
}

impl Show {
    /// Shows.
    ///
    /// # Errors
    /// [`Failure`] when nothing of that name is known.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let artifact = resolve(context, &client, &self.reference).await?;
        context.output().result(&artifact, artifact_text)?;
        Ok(())
    }
}

fn artifact_text(artifact: &Artifact) -> String {
    let mut rows = match artifact.registrations.first() {
        Some(registration) => ids(registration),
        None => vec![("artifact", artifact.artifact_id.to_string())],
    };
    if let Some(manifest) = &artifact.manifest {
        let files = table::count(manifest.files().len(), "file");
        let tensors = table::count(manifest.tensors().len(), "tensor");
        rows.push(("content", format!("{} in {files}, {tensors}", HumanBytes(manifest.size_bytes()))));
    }
    rows.push(("in the store", if artifact.local { "yes" } else { "no" }.into()));
    for entry in &artifact.registrations {
        rows.extend(registration_rows(entry));
    }
    rows.extend(artifact.edges.iter().flat_map(|stated| edge_rows("made from", stated)));
    table::fields(&rows)
}

/// Lines of a claimant: who, since when, and what it says of its claim now.
fn registration_rows(entry: &Registration) -> Vec<(&'static str, String)> {
    let license = entry.license.as_deref().map_or_else(|| "none declared".into(), table::plain);
    let at = format!("height {}, log entry {}, licence {license}", entry.at, entry.log_index);
    let mut rows = vec![("registered", format!("{}/{}", entry.account, table::plain(&entry.name))), ("", at)];
    rows.extend(entry.committed_at.map(|height| ("", format!("first committed at height {height}"))));
    if entry.matches_files == Some(false) {
        rows.push(("", "the files in this node's store do not make what is registered here".into()));
    }
    rows.extend(entry.status.iter().map(|status| ("", status_text(status))));
    rows
}

/// The artifact that somebody means by an id, `ACCOUNT/NAME` or a plain name.
///
/// A plain name is the named key's own, or else one of the node's store. The account of a full name is an
/// address, the name of a key or a development URI.
///
/// # Errors
/// [`Failure`] when nothing of that name is known.
pub async fn resolve(context: &Context, client: &Client, reference: &str) -> Result<Artifact, Failure> {
    if reference.parse::<Digest32>().is_ok() {
        return client.artifact(reference).await?.ok_or_else(|| unknown(reference));
    }
    if let Some((account, name)) = reference.rsplit_once('/') {
        let account = context.account_of(account)?;
        return named(client, &account, name).await?.ok_or_else(|| unknown(reference));
    }
    if context.names_key()
        && let Some(artifact) = named(client, &context.account()?, reference).await?
    {
        return Ok(artifact);
    }
    let local = client.local_artifacts().await?;
    let has_name =
        |artifact: &&LocalArtifact| artifact.name.as_ref().is_some_and(|name| name.as_str() == reference);
    let found = local.iter().find(has_name).ok_or_else(|| unknown(reference))?;
    client.artifact(&found.artifact_id.to_string()).await?.ok_or_else(|| unknown(reference))
}

/// What an account calls by this name, with its own registration first: others may say other things of it.
async fn named(client: &Client, account: &AccountId, name: &str) -> Result<Option<Artifact>, Failure> {
    let mut found = client.artifact(&format!("{}/{name}", account.to_ss58check())).await?;
    if let Some(artifact) = &mut found {
        artifact.registrations.sort_by_key(|entry| entry.account != *account);
    }
    Ok(found)
}

/// The model that somebody means, by what [`resolve`] understands.
///
/// # Errors
/// [`Failure`] when nothing of that name is known, or it is a dataset.
pub async fn model_of(context: &Context, client: &Client, reference: &str) -> Result<ModelId, Failure> {
    let artifact = resolve(context, client, reference).await?;
    // Registrations of one artifact may name several models: an exact id is taken at its word.
    let exact = reference.parse().ok().filter(|id| {
        artifact.registrations.iter().any(|registration| registration.model_id.as_ref() == Some(id))
    });
    exact
        .or_else(|| artifact.model_id())
        .ok_or_else(|| Failure::usage(format!("looking up the model {reference:?}: it is a dataset")))
}

fn unknown(reference: &str) -> Failure {
    Failure::usage(format!("looking up {reference:?}: neither registered nor in the node's store"))
        .hint("list what there is with `assay model list`, `assay dataset list`, or with --local")
}
