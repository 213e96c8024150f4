//! From a model file to an execution: graph, sampler, trace.
//!
//! A [`Model`] is loaded once from a [`WeightSource`]; an [`Engine`] executes requests with it and verifies
//! claimed answers. Results follow `docs/NUMERICS.md` to the bit, whatever the CPU, the number of threads
//! and the size of the chunks in which a prompt is read. [`embedding`] does the same for encoders of sentences.

#![forbid(unsafe_code)]

pub mod source;
pub mod architecture;
pub mod rotary;
pub mod config;
pub mod model;
pub mod spec;
pub mod text;
pub mod sampler;
pub mod constraint;
pub mod constrained;
pub mod engine;
pub mod observer;
pub mod embedding;
pub mod inspect;
mod cost;
pub mod synthetic;
mod batch;
mod finish;
mod forward;
mod keys;
mod load;
mod tensors;
mod walk;

pub use architecture::Architecture;
/// What requests are made of, for those who run models without the protocol's other parts.
pub use assay_protocol::request;
pub use config::Config;
pub use constrained::Constrained;
pub use constraint::Constraint;
pub use engine::{
    Claimed, Engine, ExecuteError, Execution, Failure, NO_TOKEN, Settings, StartError, Usage, Verified,
};
pub use inspect::{Inspected, Inspection};
pub use load::{LoadError, LoadOptions};
pub use model::Model;
pub use observer::Observer;
pub use source::WeightSource;
pub use spec::spec_of;
