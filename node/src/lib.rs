//! What a machine does: the services of a node and the command line that talks to them.

#![forbid(unsafe_code)]

pub mod private_file;
pub mod weight_file;
pub mod keys;
pub mod chain_spec;
pub mod data_dir;
pub mod ledger;
pub mod consensus;
pub mod mempool;
pub mod network;
pub mod sealing;
pub mod worker;
pub mod model_process;
pub mod blobs;
pub mod serving;
pub mod receipts;
pub mod retention;
pub mod rpc;
pub mod adapters;
pub mod supervisor;
pub mod node;
pub mod client;
pub mod development;
pub mod cli;
#[cfg(test)]
mod fixtures;
