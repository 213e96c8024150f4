//! The engine against an independent implementation of the same models, on random weights and on trained ones.
//!
//! The engine defines its results to the bit; these tests show that the definition is the model that the file's
//! author meant. Every slip of a list of plausible ones exceeds the bound that the engine keeps.

mod encoder;
mod file;
mod graph;
mod measure;
mod rope;
mod slip;

mod demo;
mod encoders;
mod slips;
mod variants;
mod weights;

use std::num::NonZeroUsize;
use std::sync::Arc;

use assay_engine::{Engine, LoadOptions, Model, Settings};

use graph::Oracle;
use measure::Distance;

/// Sequences that every model reads, and positions of each: 2,000 in all, under the models' context of 256.
const SEQUENCES: usize = 8;
const POSITIONS: usize = 250;

fn engine() -> Engine {
    let threads = NonZeroUsize::new(2).unwrap();
    Engine::new(Settings { threads, ..Settings::for_this_machine() }).unwrap()
}

fn load(file: &[u8]) -> Arc<Model> {
    Model::load(&file, &LoadOptions::default(), &mut |_, _| ()).unwrap()
}

/// Random tokens, so that no position is like another.
fn sequence(index: usize, vocab: usize) -> Vec<u32> {
    let mut state = 2 * index as u64 + 1;
    let mut draw = || {
        // Knuth's MMIX generator; its upper bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % vocab as u64) as u32
    };
    (0..POSITIONS).map(|_| draw()).collect()
}

/// The engine's distance from an oracle of the same file, over so many sequences.
fn distance(file: &[u8], oracle: &Oracle, sequences: usize) -> Distance {
    let (engine, model) = (engine(), load(file));
    let mut distance = Distance::default();
    for index in 0..sequences {
        let tokens = sequence(index, model.config().vocab_size);
        let ours = engine.logits(&model, &tokens).unwrap();
        distance.add(&oracle.logits(&tokens).unwrap(), &ours).unwrap();
    }
    distance
}
