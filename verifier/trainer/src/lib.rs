//! Trains the demo model: corpus, vocabulary, weights and their files, all from seeds.

#![forbid(unsafe_code)]

mod error;
mod random;
pub mod corpus;
pub mod recipe;
pub mod tokenizer;
mod batch;
mod ops;
mod model;
mod optimizer;
mod answers;
mod checkpoint;
mod training;
mod export;
pub mod evaluation;

pub use batch::Library;
pub use error::TrainerError;
pub use export::export;
pub use model::Model;
pub use training::{Inputs, train};
