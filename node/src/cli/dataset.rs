//! `assay dataset`: register datasets and look them up.

use assay_manifest::ArtifactKind;
use clap::Subcommand;

use super::artifact::{Commit, Commitments, List, Register, Show};
use super::context::Context;
use super::failure::Failure;

/// What is to be done with datasets.
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Import files into the node's store and register them on the ledger.
    Register(Register),
    /// Commit to files before you register them, to show later since when you had them.
    Commit(Commit),
    /// List commitments that are not opened, or give one up.
    Commitments(Commitments),
    /// Show what ledger and node know of a dataset.
    Show(Show),
    /// List registered datasets, or those that the node has.
    List(List),
}

impl DatasetCommand {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] when the node or the ledger refuses.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Register(register) => register.run(context, ArtifactKind::Dataset).await,
            Self::Commit(commit) => commit.run(context, ArtifactKind::Dataset).await,
            Self::Commitments(commitments) => commitments.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::List(list) => list.run(context, ArtifactKind::Dataset).await,
        }
    }
}
