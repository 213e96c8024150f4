//! Importing files and registering what they are.

use std::fs;
use std::path::{Path, PathBuf};

use assay_manifest::lineage::{Edge, EdgeKind, Evidence};
use assay_manifest::{ArtifactId, ArtifactKind, ArtifactName, Digest32, sha256};
use assay_runtime::{Balance, Hash, Runtime};
use clap::Args;
use pallet_assay_artifacts::License;
use serde::Serialize;

use super::commit::Kept;
use super::{edge_rows, ids, resolve};
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::tokens;
use crate::cli::{progress, table};
use crate::client::{Client, Entry, ImportFiles, Imported, Registering, Registration, StatedEdge};

/// Import files into the node's store and register them on the ledger.
#[derive(Debug, Args)]
pub struct Register {
    /// File or directory on the node's machine.
    path: PathBuf,
    /// What your account calls it.
    #[arg(long)]
    name: ArtifactName,
    /// An id that the files are said to have: of artifact, weights or model, or a hash of a file.
    #[arg(long, value_name = "ID")]
    expect: Option<Digest32>,
    /// Licence, as an SPDX expression.
    #[arg(long, value_name = "SPDX", value_parser = parse_license, default_value = "")]
    license: License,
    /// What it was made from, and the evidence that a check will find (V0 to V3; V0 if not said).
    #[arg(long = "edge", value_name = "KIND=PARENT[:V0..V3]", value_parser = parse_edge)]
    edges: Vec<EdgeArg>,
    /// File with the recipe of the edges; its SHA-256 becomes part of each statement.
    #[arg(long, value_name = "FILE", requires = "edges")]
    recipe_file: Option<PathBuf>,
}

/// What the ledger holds of the account for a registration and for edges.
fn deposit(entry: Option<&Entry>, edges: &[Edge]) -> Balance {
    let held = pallet_assay_artifacts::Pallet::<Runtime>::deposit;
    let entry = entry.map(|entry| held(entry.name.as_str().len().saturating_add(entry.license.len())));
    entry.into_iter().chain(edges.iter().map(|_| held(0))).fold(0, Balance::saturating_add)
}

/// An edge as it is typed: the child is what is being registered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct EdgeArg {
    kind: EdgeKind,
    /// An id, or what [`resolve`] understands.
    parent: String,
    evidence: Evidence,
}

fn parse_license(text: &str) -> Result<License, String> {
    let bytes = text.as_bytes().to_vec();
    bytes
        .try_into()
        .map_err(|_| format!("a licence has at most {} bytes", assay_manifest::log::LICENSE_BYTES_MAX))
}

fn parse_edge(text: &str) -> Result<EdgeArg, String> {
    let (kind, parent) = text.split_once('=').ok_or("write KIND=PARENT or KIND=PARENT:V3")?;
    let (parent, evidence) = parent.rsplit_once(':').unwrap_or((parent, "V0"));
    let names = || EdgeKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    let found = EdgeKind::ALL.iter().find(|known| known.name() == kind);
    let kind = *found.ok_or_else(|| format!("no edge is called {kind:?}; the kinds are {}", names()))?;
    let levels = [Evidence::Asserted, Evidence::Structural, Evidence::Numeric, Evidence::Exact];
    let found = levels.into_iter().find(|level| level.label() == evidence);
    let evidence = found.ok_or_else(|| format!("evidence is V0, V1, V2 or V3, not {evidence:?}"))?;
    if evidence > kind.best_evidence() {
        let best = kind.best_evidence().label();
        return Err(format!("no check of {} gives more than {best}", kind.name()));
    }
    Ok(EdgeArg { kind, parent: parent.to_owned(), evidence })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registered<'a> {
    block: Hash,
    #[serde(flatten)]
    registration: &'a Registration,
    edges: Vec<&'a StatedEdge>,
}

impl Register {
    /// Imports and registers.
    ///
    /// # Errors
    /// [`Failure`] when the files cannot be imported, or the ledger refuses.
    pub async fn run(self, context: &Context, kind: ArtifactKind) -> Result<(), Failure> {
        let key = context.key()?;
        let recipe = self.recipe()?;
        let client = context.client().await?;
        let files = Files { path: &self.path, kind, name: Some(&self.name), expected: self.expect.as_ref() };
        let imported = import(context, &client, files).await?;
        let id = imported.artifact_id;
        let known = client.artifact(&id.to_string()).await?;
        let edges = self.edges(context, &client, id, recipe).await?;
        let own = |there: &StatedEdge, edge: &Edge| there.edge == *edge && there.account == key.account();
        let stated = |edge: &Edge| known.iter().flat_map(|known| &known.edges).any(|there| own(there, edge));
        let new_edges: Vec<Edge> = edges.iter().filter(|edge| !stated(edge)).copied().collect();
        let registered = known.as_ref().and_then(|known| known.registered_by(&key.account()));
        let entry = match registered {
            None => Some(self.entry(&imported)),
            Some(_) if !new_edges.is_empty() => None,
            Some(there) => return Err(already(there)),
        };
        let opening = match entry {
            Some(_) => Kept::opening(context, &client, &key, id).await?,
            None => None,
        };
        let held = deposit(entry.as_ref(), &new_edges);
        context.confirm(&format!("{} are held as a deposit", tokens(held)))?;
        let included = client.register(&key, Registering { entry, opening, edges: &new_edges }).await?;
        let now = client.artifact(&id.to_string()).await?;
        let registration = now.as_ref().and_then(|now| now.registered_by(&key.account()));
        let (Some(now), Some(registration)) = (&now, registration) else {
            return Err(Failure::new(Exit::Internal, format!("registering {id}: the node does not show it")));
        };
        let edges = now.edges.iter().filter(|there| edges.iter().any(|edge| own(there, edge))).collect();
        let registered = Registered { block: included.block, registration, edges };
        context.output().result(&registered, registered_text)?;
        Ok(())
    }

    fn recipe(&self) -> Result<Digest32, Failure> {
        let Some(file) = &self.recipe_file else { return Ok(Digest32::ZERO) };
        let bytes = fs::read(file)
            .map_err(|error| Failure::usage(format!("reading the recipe {}: {error}", file.display())))?;
        Ok(sha256(&bytes))
    }

    async fn edges(
        &self,
        context: &Context,
        client: &Client,
        child: ArtifactId,
        recipe: Digest32,
    ) -> Result<Vec<Edge>, Failure> {
        let mut edges = Vec::new();
        for EdgeArg { kind, parent, evidence } in &self.edges {
            let parent = match parent.parse() {
                Ok(id) => id,
                Err(_) => resolve(context, client, parent).await?.artifact_id,
            };
            let edge = Edge { kind: *kind, child, parent, evidence: *evidence, recipe };
            edge.check().map_err(Failure::usage)?;
            edges.push(edge);
        }
        Ok(edges)
    }

    fn entry(&self, imported: &Imported) -> Entry {
        Entry {
            subject: imported.subject(),
            size_bytes: imported.size_bytes,
            name: self.name.clone(),
            license: self.license.clone(),
        }
    }
}

fn already(there: &Registration) -> Failure {
    let Registration { artifact_id, name, log_index, .. } = there;
    Failure::usage(format!(
        "registering {artifact_id}: your account registered it as {} in log entry {log_index}",
        table::plain(name)
    ))
    .hint("nothing is to be done; add edges with --edge, or look at it with `assay model show`")
}

/// Files of this machine, which is the node's too, and what they are taken for.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// A file or directory.
    pub path: &'a Path,
    /// Model or dataset.
    pub kind: ArtifactKind,
    /// What the store is to call it.
    pub name: Option<&'a ArtifactName>,
    /// An id that the files are said to have.
    pub expected: Option<&'a Digest32>,
}

/// Imports into the node's store, with a bar while it hashes.
///
/// # Errors
/// [`Failure`] when the path is not there, or the node refuses.
pub async fn import(context: &Context, client: &Client, files: Files<'_>) -> Result<Imported, Failure> {
    let Files { path, kind, name, expected } = files;
    let bad_path = |cause: String| Failure::usage(format!("importing {}: {cause}", path.display()));
    let absolute = std::path::absolute(path).map_err(|error| bad_path(error.to_string()))?;
    let path = absolute.to_str().ok_or_else(|| bad_path("the path is not UTF-8".into()))?;
    let bar = progress::bytes(context.output(), "hashing");
    let imported = client.import(ImportFiles { path, kind, name, expected }, |now| {
        bar.set_length(now.total_bytes);
        bar.set_position(now.done_bytes);
    });
    let imported = imported.await;
    bar.finish_and_clear();
    Ok(imported?)
}

fn registered_text(registered: &Registered<'_>) -> String {
    let Registered { block, registration, edges } = registered;
    let mut rows = ids(registration);
    rows.extend([
        ("name", format!("{}/{}", registration.account, table::plain(&registration.name))),
        ("deposit", tokens(registration.deposit.get())),
        ("log entry", registration.log_index.to_string()),
    ]);
    rows.extend(registration.committed_at.map(|height| ("first committed", format!("at height {height}"))));
    rows.push(("block", format!("{block:?}")));
    rows.extend(edges.iter().flat_map(|stated| edge_rows("made from", stated)));
    table::fields(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pallet_assay_artifacts::Subject;

    #[test]
    fn an_edge_is_a_kind_a_parent_and_evidence_within_its_reach() {
        let id = ArtifactId::from_bytes([7; 32]).to_string();
        let edge = parse_edge(&format!("quantized_from={id}:V3")).unwrap();
        assert_eq!((edge.kind, edge.evidence), (EdgeKind::QuantizedFrom, Evidence::Exact));
        assert_eq!(edge.parent, id);
        assert_eq!(parse_edge("trained_on=//Alice/corpus").unwrap().evidence, Evidence::Asserted);
        for (bad, reason) in [
            ("quantized_from", "no parent"),
            ("made_of=x", "unknown kind"),
            ("quantized_from=x:V4", "unknown evidence"),
            ("finetuned_from=x:V3", "evidence out of reach"),
        ] {
            assert!(parse_edge(bad).is_err(), "{reason}");
        }
    }

    #[test]
    fn the_deposit_grows_with_names_and_edges() {
        let id = ArtifactId::from_bytes([7; 32]);
        let (name, license) = ("demo".parse().unwrap(), parse_license("MIT").unwrap());
        let entry = Entry { subject: Subject::Dataset(id), size_bytes: 1, name, license };
        let (kind, evidence) = (EdgeKind::TrainedOn, Evidence::Asserted);
        let edge = Edge { kind, child: id, parent: id, evidence, recipe: Digest32::ZERO };
        assert_eq!(tokens(deposit(Some(&entry), &[])), "1.07 ASY");
        assert_eq!(tokens(deposit(Some(&entry), &[edge, edge])), "3.07 ASY");
        assert_eq!(deposit(None, &[]), 0);
    }

    #[test]
    fn a_licence_has_a_bound() {
        assert_eq!(parse_license("Apache-2.0").unwrap().into_inner(), b"Apache-2.0");
        assert!(parse_license(&"x".repeat(257)).is_err());
    }
}
