//! The vectors of `assay-num-1`: what the files of `tests/vectors` hold. `docs/VECTORS.md` says how to read them.

pub mod draws;
pub mod form;
pub mod functions;
pub mod encoders;
pub mod models;
mod activations;
mod attention;
mod hashes;
mod numbers;
mod products;
mod rope;
mod rows;
mod sampling;

use form::File;
use functions::Functions;

/// Every file of operations.
pub fn operations(functions: &dyn Functions) -> Vec<File> {
    let mut files = vec![
        numbers::generator(),
        numbers::widening(),
        numbers::rounding(),
        numbers::blocks(),
        numbers::quantisers(),
        activations::exp(),
        activations::erf(),
        activations::swiglu(functions),
        activations::geglu(functions),
        activations::gelu(functions),
        rows::rms_norm(functions),
        rows::layer_norm(functions),
        rows::l2_norm(functions),
        rows::mean_pooling(functions),
        rope::angles(),
        rope::rotations(functions),
        attention::attention(functions),
        attention::experts(functions),
        sampling::choices(),
        sampling::logprobs(),
        hashes::prompt(),
        hashes::spec(),
        hashes::trace(),
    ];
    files.extend(products::products(functions));
    files
}

/// The files of whole models.
pub fn executions(functions: &dyn Functions) -> Vec<File> {
    vec![models::executions(functions.cpu()), encoders::embeddings(functions.cpu())]
}
