//! The command line: one file a command.
//!
//! Commands speak to a node over JSON-RPC and sign locally; only `node`, `demo`, `run`, `bench`
//! and `trace` compute anything themselves. Results go to standard output, progress and errors to standard error.

mod failure;
mod output;
mod secrets;
mod context;
mod progress;
mod table;
mod machine;
mod gguf_file;
mod asking;
mod artifact;
mod key;
mod node;
mod network;
mod chain;
mod model;
mod dataset;
mod claim;
mod staking;
mod provider;
mod validator;
mod job;
mod receipt;
mod run;
mod bench;
mod trace;
mod demo;
mod worker;
#[cfg(test)]
mod testing;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use context::Globals;
pub use failure::{Exit, Failure};
pub use output::{Format, Output};

use context::Context;

/// A node for provable models and verifiable inference.
#[derive(Debug, Parser)]
#[command(name = "assay", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole promise on this machine: register a model, buy an answer, check the receipt.
    Demo(demo::Demo),
    /// Run a node, or set one up.
    Node(node::NodeCommand),
    /// Start a network of several nodes on this machine, to try things with.
    Network(network::Network),
    /// Create, import and look after keys.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Register models and look them up.
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Register datasets and look them up.
    #[command(subcommand)]
    Dataset(dataset::DatasetCommand),
    /// Fetch models and datasets from other nodes, and say what stays in the store.
    #[command(subcommand)]
    Artifact(artifact::ArtifactCommand),
    /// Say later what became of your registrations, edges and keys.
    #[command(subcommand)]
    Claim(claim::ClaimCommand),
    /// Sell compute.
    #[command(subcommand)]
    Provider(provider::ProviderCommand),
    /// Take part in deciding blocks.
    #[command(subcommand)]
    Validator(validator::ValidatorCommand),
    /// Buy inference.
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Check receipts without trusting a node.
    #[command(subcommand)]
    Receipt(receipt::ReceiptCommand),
    /// Run a model on this machine, without any network.
    Run(run::Run),
    /// Measure how fast this machine runs a model, and against what it could.
    Bench(bench::Bench),
    /// Look into executions: recompute, open and compare traces.
    #[command(subcommand)]
    Trace(trace::TraceCommand),
    /// Look at the chain.
    #[command(subcommand)]
    Chain(chain::ChainCommand),
    /// Run a model for the node that starts this.
    #[command(hide = true)]
    Worker(worker::Worker),
}

impl Cli {
    /// The command that runs a model for a node, if it is that: it confines itself, and that must come before any
    /// thread is started.
    pub fn worker(&self) -> Option<&worker::Worker> {
        match &self.command {
            Command::Worker(worker) => Some(worker),
            _ => None,
        }
    }
}

/// Runs the command that the arguments name.
pub async fn main(cli: Cli) -> ExitCode {
    let context = Context::new(cli.globals);
    let output = context.output();
    let done = match cli.command {
        Command::Demo(command) => command.run(&context).await,
        Command::Node(command) => command.run(&context).await,
        Command::Network(command) => command.run(&context).await,
        Command::Key(command) => command.run(&context),
        Command::Model(command) => command.run(&context).await,
        Command::Dataset(command) => command.run(&context).await,
        Command::Artifact(command) => command.run(&context).await,
        Command::Claim(command) => command.run(&context).await,
        Command::Provider(command) => command.run(&context).await,
        Command::Validator(command) => command.run(&context).await,
        Command::Job(command) => command.run(&context).await,
        Command::Receipt(command) => command.run(&context).await,
        Command::Run(command) => command.run(&context).await,
        Command::Bench(command) => command.run(&context).await,
        Command::Trace(command) => command.run(&context).await,
        Command::Chain(command) => command.run(&context).await,
        Command::Worker(_) => {
            Err(Failure::new(Exit::Internal, "running a model for a node: threads run already"))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever closed the output, such as `head`, has what it wanted.
        Err(failure) if failure.exit() == Exit::OutputClosed => failure.exit().into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit().into()
        }
    }
}
