//! Encoders of every type of weights, and the slips that the bound shows.

use assay_engine::LoadOptions;
use assay_engine::embedding::{Encoder, Pooling, TooLong};
use assay_engine::synthetic::SyntheticBert;
use assay_kernels::WeightType;

use crate::encoder::{self, EncoderSlip, angle};
use crate::engine;
use crate::file::File;

/// Most that 1 less the cosine may be where weights are plain numbers: keys and values are rounded to binary16.
const PLAIN_MAX: f64 = 1e-6;

/// The same where activations are quantised.
const QUANTISED_MAX: f64 = 1e-3;

const TEXTS: [&str; 5] = [
    "",
    "The hand and the land.",
    "standing, handing 42 bands!",
    "Ünknown 漢字 ☃ words",
    "the and in hand land the ands ins hands lands a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2",
];

/// The largest distance of the texts' embeddings.
fn distance(synthetic: &SyntheticBert, slip: Option<EncoderSlip>) -> f64 {
    let bytes = synthetic.gguf().unwrap();
    let encoder = Encoder::load(&bytes, &LoadOptions::default(), &mut |_, _| ()).unwrap();
    let file = File::read(&bytes).unwrap();
    let oracle = encoder::Encoder {
        heads: file.size("attention.head_count").unwrap(),
        epsilon: file.number("attention.layer_norm_epsilon").unwrap(),
        mean: file.size("pooling_type") == Some(1),
        tensors: file.into_tensors(),
        slip,
    };
    let embeddings = engine().encode(&encoder, &TEXTS, TooLong::Refuse).unwrap();
    let pairs = TEXTS.iter().zip(&embeddings);
    let angles = pairs.map(|(text, embedding)| {
        let tokens = encoder.text().encode_sentence(text).unwrap();
        angle(&oracle.embed(&tokens).unwrap(), &embedding.values).unwrap()
    });
    angles.fold(0.0, f64::max)
}

#[test]
fn encoders_give_the_oracles_embeddings() {
    for weight_type in WeightType::ALL {
        for pooling in [Pooling::Mean, Pooling::Cls] {
            let found = distance(&SyntheticBert { pooling, ..SyntheticBert::of(weight_type) }, None);
            println!("{} {pooling:?}: {found:.2e}", weight_type.name());
            let max = if weight_type.integers().is_none() { PLAIN_MAX } else { QUANTISED_MAX };
            assert!(found < max, "{} is {found:.2e} away", weight_type.name());
        }
    }
}

#[test]
fn every_slip_of_an_encoder_exceeds_the_bound() {
    use EncoderSlip::*;
    for slip in
        [Causal, TokenType, Position, Bias, AttentionScale, PreNorm, Residual, Activation, RmsNorm, Pooling]
    {
        let found = distance(&SyntheticBert::default(), Some(slip));
        println!("{slip:?}: {found:.2e}");
        assert!(found > 10.0 * PLAIN_MAX, "{slip:?} is only {found:.2e} away");
    }
}
