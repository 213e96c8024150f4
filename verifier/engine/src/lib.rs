//! From a model file to an execution: graph, sampler, trace.
//!
//! A [`Model`] is loaded once from a [`WeightSource`]; an [`Engine`] executes requests with it and verifies
//! claimed answers. Results follow `docs/NUMERICS.md` to the bit, whatever the CPU, the number of threads
//! and the size of the chunks in which a prompt is read. [`embedding`] does the same for encoders of sentences.
//! Engines of both classes answer requests as a [`Generator`]; that of the tolerance class is `assay-tolerance`.

#![forbid(unsafe_code)]

pub mod source;
pub mod architecture;
pub mod rotary;
pub mod keys;
pub mod config;
pub mod model;
pub mod spec;
pub mod text;
pub mod sampler;
pub mod constraint;
pub mod constrained;
pub mod prompt;
pub mod finish;
pub mod engine;
pub mod generator;
pub mod observer;
pub mod embedding;
pub mod inspect;
mod cost;
pub mod synthetic;
mod batch;
mod forward;
mod load;
mod tensors;
mod walk;

pub use architecture::{Architecture, class_of};
/// What requests are made of, for those who run models without the protocol's other parts.
pub use assay_protocol::request;
pub use config::Config;
pub use constrained::Constrained;
pub use constraint::Constraint;
pub use engine::{
    Claimed, Engine, ExecuteError, Execution, Failure, NO_TOKEN, Settings, StartError, Usage, Verified,
};
pub use generator::{ExactGenerator, Generator};
pub use inspect::{Inspected, Inspection};
pub use load::{LoadError, LoadOptions};
pub use model::Model;
pub use observer::Observer;
pub use source::WeightSource;
pub use spec::spec_of;
