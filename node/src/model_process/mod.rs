//! Models in processes of their own.
//!
//! A model file is foreign and large. Whatever it does to the process that reads and runs it, the node goes on: a
//! process that dies is a call that failed, and is started again; one that dies too often is a model that is not served.
//! There is one process a model. It gets the open file and a socket, takes everything else from itself ([`sandbox`]),
//! and speaks in frames ([`wire`], [`message`]). Calls run side by side in its engine. It ends when the node does.
//!
//! Each process has as many threads as the node is told to use: the node executes one request at a time, so that of
//! several models' threads those of one work, and the others sleep.

pub mod config;
pub mod wire;
pub mod message;
pub mod sandbox;
pub mod hosted;
pub mod child;
pub mod probe;
pub mod connection;
pub mod process;
mod system;
mod crashes;
mod log;

pub use config::{Isolation, ProcessConfig, Unconfined, own_program};
pub use connection::CallError;
pub use hosted::Hosted;
pub use message::{Call, Counted, Loaded, Question, Reply, Start};
pub use probe::{ProbeError, Probed, confined, probe};
pub use process::{LoadError, ModelProcess, Plan};
pub use sandbox::{Confinement, Landlock, Layers};
