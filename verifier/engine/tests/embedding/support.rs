//! Encoders and texts for tests.

use std::num::NonZeroUsize;
use std::sync::Arc;

use assay_engine::LoadOptions;
use assay_engine::embedding::{Embedding, Encoder, EncoderError, TooLong};
use assay_engine::synthetic::SyntheticBert;
use assay_kernels::{Cpu, Pool};

pub const TEXTS: [&str; 6] = [
    "the hand and the land",
    "",
    "standing, 42 bands! a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o p q r",
    "Ünknown 漢字 ☃",
    "the land",
    "the land and the hand in the land and the hand in the land and the hand in the land and the hand in the \
     land and the hand in the land and the hand in the land and the hand in the land and the hand",
];

pub fn load(file: &[u8]) -> Result<Arc<Encoder>, EncoderError> {
    Encoder::load(&file, &LoadOptions::default(), &mut |_, _| ())
}

pub fn encoder(synthetic: &SyntheticBert) -> Arc<Encoder> {
    load(&synthetic.gguf().unwrap()).unwrap()
}

pub fn pool(threads: usize, cpu: Cpu) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap(), cpu).unwrap()
}

pub fn encode(encoder: &Encoder, texts: &[&str]) -> Vec<Embedding> {
    encoder.encode(&pool(1, Cpu::detect()), texts, TooLong::Refuse).unwrap()
}
