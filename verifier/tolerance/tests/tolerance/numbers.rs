//! Logits against those of the reference.

use assay_engine::Generator;
use assay_engine::synthetic::Synthetic;
use assay_kernels::WeightType;

use crate::reference::{Reference, Slip};
use crate::support::{changed, execute, generator, in_chunks, load, request, split, variant};

/// Most that logits of F32 weights differ: length of the difference by the length of the reference's.
const F32_MAX: f64 = 1e-5;

/// Most with Q8_0 weights, for which candle quantises activations, too.
const Q8_0_MAX: f64 = 3e-2;

const TOKENS: [u32; 12] = [104, 262, 17, 258, 99, 200, 3, 3, 61, 260, 12, 255];

fn distance(ours: &[f32], reference: &[f64]) -> f64 {
    assert_eq!(ours.len(), reference.len());
    let square = |x: f64| x * x;
    let apart: f64 = ours.iter().zip(reference).map(|(ours, theirs)| square(f64::from(*ours) - theirs)).sum();
    (apart / reference.iter().copied().map(square).sum::<f64>()).sqrt()
}

#[test]
fn logits_are_those_of_the_reference_whatever_the_chunks() {
    for (name, synthetic) in Synthetic::tolerance_variants() {
        let reference = Reference::new(&synthetic, None);
        for chunk in [1, 5, 64] {
            let generator = in_chunks(&synthetic, chunk);
            for len in [1, 2, TOKENS.len()] {
                let found =
                    distance(&generator.logits(&TOKENS[..len]).unwrap(), &reference.logits(&TOKENS[..len]));
                println!("{name}, {len} tokens in chunks of {chunk}: {found:.2e}");
                assert!(found < F32_MAX, "{name}, {len} tokens in chunks of {chunk}: {found:.2e}");
            }
        }
    }
}

#[test]
fn quantised_weights_keep_the_bound() {
    for (name, synthetic) in Synthetic::tolerance_variants() {
        let synthetic = Synthetic { weight_type: WeightType::Q8_0, reach: 1.5, ..synthetic };
        let reference = Reference::new(&synthetic, None).logits(&TOKENS);
        let found = distance(&generator(&synthetic).logits(&TOKENS).unwrap(), &reference);
        println!("{name}: {found:.2e}");
        assert!(found < Q8_0_MAX, "{name}: {found:.2e}");
    }
}

#[test]
fn queries_keys_and_values_apart_are_as_good_as_together() {
    for weight_type in [WeightType::F32, WeightType::Q8_0] {
        let together = Synthetic { weight_type, ..variant("phi2") };
        let apart = load(&changed(&together, |_, tensors| *tensors = split(tensors))).unwrap();
        assert_eq!(apart.logits(&TOKENS).unwrap(), generator(&together).logits(&TOKENS).unwrap());
    }
}

#[test]
fn every_slip_exceeds_both_bounds() {
    let slips = [Slip::RopePairs, Slip::RopeAll, Slip::Bias, Slip::Scale, Slip::Activation, Slip::Mask];
    for (name, synthetic) in Synthetic::tolerance_variants() {
        let ours = generator(&synthetic).logits(&TOKENS).unwrap();
        for slip in slips {
            let found = distance(&ours, &Reference::new(&synthetic, Some(slip)).logits(&TOKENS));
            println!("{slip:?} in {name}: {found:.2e}");
            assert!(found > Q8_0_MAX, "{slip:?} in {name} is only {found:.2e} away");
        }
    }
}

#[test]
fn a_greedy_answer_is_the_references() {
    for (name, synthetic) in Synthetic::tolerance_variants() {
        let generator = generator(&synthetic);
        let request = request(&generator, "in the hand", 12);
        let execution = execute(&generator, &request);
        let reference = Reference::new(&synthetic, None);
        let mut sequence = generator.prompt(&request).unwrap();
        for token in execution.tokens {
            let logits = reference.logits(&sequence);
            let likeliest = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
            assert_eq!(token as usize, likeliest, "{name} at position {}", sequence.len());
            sequence.push(token);
        }
    }
}
