//! `assay worker`: the process in which a node runs a model.

use std::process::ExitCode;

use clap::Args;

use super::failure::Exit;
use crate::model_process::{Layers, child, probe};

/// Run a model for the node that starts this.
#[derive(Debug, Args)]
pub struct Worker {
    /// Confine this process by these layers, try what must not be possible then, and print what is.
    #[arg(long, value_name = "LAYERS")]
    probe: Option<Layers>,
}

impl Worker {
    /// Runs the command to its end, on the thread that calls it: there must be no other.
    pub fn run(&self) -> ExitCode {
        let done = match self.probe {
            None => child::run().map_err(|error| error.to_string()),
            Some(layers) => probed(layers),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(cause) => {
                eprintln!("error: {cause}");
                Exit::Internal.into()
            }
        }
    }
}

fn probed(layers: Layers) -> Result<(), String> {
    let probed = probe(layers).map_err(|error| error.to_string())?;
    println!("{}", serde_json::to_string(&probed).map_err(|error| error.to_string())?);
    Ok(())
}
