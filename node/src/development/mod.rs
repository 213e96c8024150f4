//! What makes a development chain useful at once: a model of our own with its whole provenance, and six
//! providers in one process that offer it.

mod files;
mod market;

pub use files::{question, recompute_quantisation};
pub use market::{Published, SetupError, open_market, publish};
