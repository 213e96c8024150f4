//! `assay trace`: what stands behind a trace root, recomputed from model and receipt.

mod check;
mod diff;
mod file;
mod open;
mod recompute;
mod show;
#[cfg(test)]
mod tests;

use clap::Subcommand;

use super::context::Context;
use super::failure::Failure;

/// What is to be done with traces.
#[derive(Debug, Subcommand)]
pub enum TraceCommand {
    /// Recompute the trace of a receipt, and compare its root.
    Show(show::Show),
    /// Prove one position of a trace, or check such a proof offline.
    Open(open::Open),
    /// Recompute some positions of a trace that somebody claims for a receipt, and compare them.
    Check(check::Check),
    /// Find where two traces differ first.
    Diff(diff::Diff),
}

impl TraceCommand {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] when a file cannot be read, or a trace is not what it should be.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Show(command) => command.run(context).await,
            Self::Open(command) => command.run(context).await,
            Self::Check(command) => command.run(context).await,
            Self::Diff(command) => command.run(context),
        }
    }
}
