//! Models of the tolerance class, as files of random weights.

mod files;
mod numbers;
mod reference;
mod rules;
mod support;
