//! The binary `assay`.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use assay_node::cli::{self, Cli};
use clap::Parser;

/// How long the process waits for work that nobody waits for any more, such as a model that is being loaded.
const WIND_UP: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(worker) = cli.worker() {
        return worker.run();
    }
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(cli::main(cli));
            runtime.shutdown_timeout(WIND_UP);
            exit
        }
        Err(error) => {
            eprintln!("error: starting the runtime: {error}");
            ExitCode::FAILURE
        }
    }
}
