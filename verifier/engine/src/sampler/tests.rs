use std::f32::consts::LN_2;

use assay_manifest::Digest32;
use assay_protocol::request::{F32, Sampler};
use proptest::prelude::*;

use super::{SampleError, TokenMask, Unsupported, check, choose, choose_allowed};

const LN_3: f32 = 1.098_612_3;

fn settings(temperature: f32) -> Sampler {
    Sampler { temperature: F32::new(temperature), ..Sampler::greedy() }
}

fn seed(byte: u8) -> Digest32 {
    Digest32::from_bytes([byte; 32])
}

/// The tokens drawn at the positions 0 to 9,999, counted.
fn counts(logits: &[f32], settings: &Sampler) -> Vec<u32> {
    let mut counts = vec![0; logits.len()];
    for position in 0..10_000 {
        counts[choose(logits, settings, &seed(1), position, &[]).unwrap() as usize] += 1;
    }
    counts
}

#[test]
fn greedy_takes_the_greatest_and_of_equals_the_lowest() {
    let greedy = Sampler::greedy();
    let cases: [(&[f32], u32); 4] =
        [(&[1.0, 3.0, 2.0], 1), (&[2.0, 2.0, 1.0], 0), (&[-0.0, 0.0], 0), (&[-5.0, -1e-45, -1.0], 1)];
    for (logits, expected) in cases {
        assert_eq!(choose(logits, &greedy, &seed(0), 0, &[]), Ok(expected), "{logits:?}");
    }
}

#[test]
fn what_is_not_finite_is_refused() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let logits = [0.0, bad];
        assert_eq!(
            choose(&logits, &settings(1.0), &seed(0), 0, &[]),
            Err(SampleError::NotFinite { token: 1 })
        );
    }
    let bias = Sampler { logit_bias: vec![(0, F32::new(f32::MAX))], ..settings(1.0) };
    let overflow = choose(&[f32::MAX, 0.0], &bias, &seed(0), 0, &[]);
    assert_eq!(overflow, Err(SampleError::NotFinite { token: 0 }));
    assert_eq!(choose(&[], &settings(1.0), &seed(0), 0, &[]), Err(SampleError::Empty));
}

#[test]
fn frequencies_follow_the_probabilities() {
    // ln of 1, 2, 3, 4: probabilities of 0.1, 0.2, 0.3, 0.4.
    let logits = [0.0, LN_2, LN_3, 2.0 * LN_2];
    for (count, expected) in counts(&logits, &settings(1.0)).into_iter().zip([1000, 2000, 3000, 4000]) {
        // Four standard deviations of a binomial count.
        assert!(u32::abs_diff(count, expected) < 200, "{count} of {expected}");
    }
    // At half the temperature the probabilities are squared: 1, 4, 9, 16 of 30.
    for (count, expected) in counts(&logits, &settings(0.5)).into_iter().zip([333, 1333, 3000, 5333]) {
        assert!(u32::abs_diff(count, expected) < 200, "{count} of {expected}");
    }
}

#[test]
fn filters_keep_what_the_definition_names() {
    let logits = [0.0, LN_2, LN_3, 2.0 * LN_2, 2.0 * LN_2];
    let drawn = |settings: Sampler| -> Vec<usize> {
        counts(&logits, &settings)
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(t, _)| t)
            .collect()
    };
    let top_k = |k| drawn(Sampler { top_k: k, ..settings(1.0) });
    assert_eq!((top_k(1), top_k(2), top_k(3)), (vec![3], vec![3, 4], vec![2, 3, 4]));
    assert_eq!(
        (top_k(0), top_k(5), top_k(u32::MAX)),
        (vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 4])
    );
    // Shares are 4/14, 4/14, 3/14, 2/14, 1/14.
    let top_p = |p| drawn(Sampler { top_p: F32::new(p), ..settings(1.0) });
    assert_eq!((top_p(0.0), top_p(0.28), top_p(0.3)), (vec![3], vec![3], vec![3, 4]));
    assert_eq!((top_p(0.6), top_p(0.79)), (vec![2, 3, 4], vec![1, 2, 3, 4]));
    let min_p = |p| drawn(Sampler { min_p: F32::new(p), ..settings(1.0) });
    assert_eq!((min_p(1.0), min_p(0.7), min_p(0.3)), (vec![3, 4], vec![2, 3, 4], vec![1, 2, 3, 4]));
}

#[test]
fn penalties_and_bias_change_the_greatest() {
    let choose = |change: fn(&mut Sampler), history: &[u32]| {
        let mut settings = Sampler::greedy();
        change(&mut settings);
        choose(&[4.0, 3.0, -1.0], &settings, &seed(0), 0, history).unwrap()
    };
    assert_eq!(choose(|s| s.repetition_penalty = F32::new(2.0), &[0]), 1);
    assert_eq!(choose(|s| s.repetition_penalty = F32::new(2.0), &[0, 1]), 0);
    assert_eq!(choose(|s| s.presence_penalty = F32::new(0.75), &[0, 0]), 0);
    assert_eq!(choose(|s| s.frequency_penalty = F32::new(0.75), &[0, 0]), 1);
    assert_eq!(choose(|s| s.logit_bias = vec![(2, F32::new(5.5))], &[]), 2);
    // Tokens that the model does not have are in no history.
    assert_eq!(choose(|s| s.presence_penalty = F32::new(5.0), &[7, u32::MAX]), 0);
}

#[test]
fn a_bias_for_an_unknown_token_is_unsupported() {
    let settings = Sampler { logit_bias: vec![(7, F32::new(1.0))], ..Sampler::greedy() };
    assert_eq!(check(&settings, 8), Ok(()));
    assert_eq!(check(&settings, 7), Err(Unsupported::UnknownToken { token: 7, vocab_size: 7 }));
}

fn mask(vocab_size: usize, allowed: impl IntoIterator<Item = u32>) -> TokenMask {
    let mut mask = TokenMask::none(vocab_size);
    allowed.into_iter().for_each(|token| mask.allow(token));
    mask
}

#[test]
fn what_is_not_allowed_is_not_chosen_whatever_speaks_for_it() {
    let allowed = mask(4, [1, 2]);
    let bias = vec![(0, F32::new(100.0)), (3, F32::new(-50.0))];
    for temperature in [0.0, 0.5, f32::MAX] {
        for top_k in [0, 1, 3] {
            let settings = Sampler { logit_bias: bias.clone(), top_k, ..settings(temperature) };
            for position in 0..50 {
                let logits = [9.0, -3.0, -2.0, 70.0];
                let chosen = choose_allowed(&logits, Some(&allowed), &settings, &seed(0), position, &[0, 3]);
                assert!(matches!(chosen, Ok(1 | 2)), "{chosen:?} at {temperature}, {top_k}");
            }
        }
    }
}

#[test]
fn a_choice_of_nothing_fails_after_what_is_not_finite() {
    let none = mask(2, []);
    for temperature in [0.0, 1.0] {
        let choose = |logits| choose_allowed(logits, Some(&none), &settings(temperature), &seed(0), 0, &[]);
        assert_eq!(choose(&[1.0, 2.0]), Err(SampleError::NoneAllowed));
        assert_eq!(choose(&[1.0, f32::NAN]), Err(SampleError::NotFinite { token: 1 }));
    }
}

#[test]
fn extreme_temperatures_have_a_token() {
    let logits = [f32::MIN, 0.0, f32::MAX];
    assert_eq!(choose(&logits, &settings(f32::from_bits(1)), &seed(0), 0, &[]), Ok(2));
    assert!(choose(&logits, &settings(f32::MAX), &seed(0), 0, &[]).is_ok());
}

#[test]
fn the_first_draws_are_frozen() {
    let logits: Vec<f32> = (0..1000).map(|i| (i * 37 % 101) as f32 / 16.0).collect();
    let all = Sampler { top_k: 400, top_p: F32::new(0.95), min_p: F32::new(0.01), ..settings(0.8) };
    let drawn = |settings: &Sampler| -> Vec<u32> {
        (0..8).map(|position| choose(&logits, settings, &seed(9), position, &[]).unwrap()).collect()
    };
    assert_eq!(drawn(&settings(1.0)), FROZEN_PLAIN);
    assert_eq!(drawn(&all), FROZEN_FILTERED);
}

const FROZEN_PLAIN: [u32; 8] = [524, 813, 887, 494, 38, 90, 373, 799];
const FROZEN_FILTERED: [u32; 8] = [524, 813, 887, 494, 38, 90, 371, 797];

/// The definition by a full sort and a walk over the sorted list.
fn naive(logits: &[f32], settings: &Sampler, seed: &Digest32, position: u32) -> u32 {
    let greatest = logits.iter().copied().fold(f32::MIN, f32::max);
    let temperature = settings.temperature.get();
    let weight = |logit: f32| {
        (f64::from(assay_kernels::reference::exp((logit - greatest) / temperature)) * (1u64 << 40) as f64)
            as u128
    };
    let mut kept: Vec<(u32, f32, u128)> =
        (0u32..).zip(logits).map(|(token, logit)| (token, *logit, weight(*logit))).collect();
    kept.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    if settings.top_k > 0 {
        kept.truncate(settings.top_k as usize);
    }
    let share = |share: F32| (f64::from(share.get()) * (1u64 << 32) as f64) as u128;
    let whole: u128 = kept.iter().map(|(_, _, weight)| weight).sum();
    let enough = (1..=kept.len()).find(|n| {
        (kept[..*n].iter().map(|(_, _, weight)| weight).sum::<u128>() << 32) >= share(settings.top_p) * whole
    });
    kept.truncate(enough.unwrap());
    let least = share(settings.min_p) * kept[0].2;
    kept.retain(|(_, _, weight)| weight << 32 >= least);
    kept.sort_by_key(|(token, _, _)| *token);
    let whole: u128 = kept.iter().map(|(_, _, weight)| weight).sum();
    let mark = (u128::from(super::uniform(seed, position)) * whole) >> 64;
    let mut running = 0;
    kept.iter()
        .find(|(_, _, weight)| {
            running += weight;
            running > mark
        })
        .unwrap()
        .0
}

proptest! {
    #[test]
    fn the_choice_is_the_definitions(
        logits in prop::collection::vec(-8i8..8, 1..700),
        (temperature, top_k, top_p, min_p) in (0.05f32..4.0, 0u32..900, 0.0f32..=1.0, 0.0f32..=1.0),
        position: u32,
    ) {
        // Few distinct values, so that ties are common.
        let logits: Vec<f32> = logits.into_iter().map(|logit| f32::from(logit) / 2.0).collect();
        for (top_p, min_p) in [(top_p, min_p), (top_p, 0.0), (1.0, min_p)] {
            let (top_p, min_p) = (F32::new(top_p), F32::new(min_p));
            let settings = Sampler { top_k, top_p, min_p, ..settings(temperature) };
            let chosen = choose(&logits, &settings, &seed(3), position, &[]).unwrap();
            prop_assert_eq!(chosen, naive(&logits, &settings, &seed(3), position));
        }
    }

    #[test]
    fn the_choice_among_what_is_allowed_is_that_of_a_vocabulary_of_it(
        logits in prop::collection::vec((-8i8..8, any::<bool>()), 1..300),
        (temperature, top_k, top_p, min_p) in (0.0f32..2.0, 0u32..40, 0.0f32..=1.0, 0.0f32..=1.0),
        position: u32,
    ) {
        let allowed: Vec<u32> =
            (0u32..).zip(&logits).filter(|(_, (_, allowed))| *allowed).map(|(token, _)| token).collect();
        prop_assume!(!allowed.is_empty());
        let logits: Vec<f32> = logits.into_iter().map(|(logit, _)| f32::from(logit) / 2.0).collect();
        let few: Vec<f32> = allowed.iter().map(|token| logits[*token as usize]).collect();
        let mask = mask(logits.len(), allowed.iter().copied());
        for temperature in [0.0, temperature] {
            let (top_p, min_p) = (F32::new(top_p), F32::new(min_p));
            let settings = Sampler { top_k, top_p, min_p, ..settings(temperature) };
            let chosen = choose_allowed(&logits, Some(&mask), &settings, &seed(3), position, &[]).unwrap();
            let among_few = choose(&few, &settings, &seed(3), position, &[]).unwrap();
            prop_assert_eq!(chosen, allowed[among_few as usize]);
        }
    }
}
