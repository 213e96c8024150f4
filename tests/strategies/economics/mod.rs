//! Whether cheating pays: exact expectations, and a check of them by play.

pub mod terms;
pub mod payoffs;
pub mod sample;
pub mod page;
