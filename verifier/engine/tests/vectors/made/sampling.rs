//! The choice of tokens.

use assay_engine::request::{F32, Sampler};
use assay_engine::sampler::{choose, logprobs as logprobs_of};
use assay_manifest::Digest32;

use super::draws::Floats;
use super::form::{Case, File};

const POSITIONS: [u32; 6] = [0, 1, 2, 100, 65_536, u32::MAX];
const SEED: Digest32 = Digest32::from_bytes([9; 32]);

fn at(temperature: f32) -> Sampler {
    Sampler { temperature: F32::new(temperature), ..Sampler::greedy() }
}

/// Names and settings, each alone and then all together.
fn settings() -> Vec<(&'static str, Sampler)> {
    let number = F32::new;
    let bias = vec![(0, number(1.5)), (7, number(-100.0)), (99, number(0.1))];
    vec![
        ("greedy", Sampler::greedy()),
        ("plain", at(1.0)),
        ("cold", at(0.05)),
        ("hot", at(3.0)),
        ("top_k", Sampler { top_k: 5, ..at(0.5) }),
        ("top_p", Sampler { top_p: number(0.3), ..at(0.5) }),
        ("top_p of nothing", Sampler { top_p: number(0.0), ..at(0.5) }),
        ("min_p", Sampler { min_p: number(0.2), ..at(0.5) }),
        ("repetition", Sampler { repetition_penalty: number(1.3), ..at(0.4) }),
        ("frequency", Sampler { frequency_penalty: number(0.7), ..at(0.4) }),
        ("presence", Sampler { presence_penalty: number(1.1), ..at(0.4) }),
        ("bias", Sampler { logit_bias: bias.clone(), ..at(0.4) }),
        ("greedy with penalties", Sampler { repetition_penalty: number(2.0), ..Sampler::greedy() }),
        (
            "all",
            Sampler {
                top_k: 200,
                top_p: number(0.95),
                min_p: number(0.01),
                repetition_penalty: number(1.1),
                presence_penalty: number(0.2),
                frequency_penalty: number(-0.1),
                logit_bias: bias,
                ..at(0.7)
            },
        ),
    ]
}

pub fn choices() -> File {
    let drawn = Floats::plain(121, 300);
    let equal: Vec<f32> = (0..100).map(|i| (i * 37 % 11) as f32 / 4.0).collect();
    let zeros = Floats::given(&[-0.0, 0.0, -1.0, 0.0, -0.0]);
    let far = Floats::given(&[f32::MIN, 0.0, f32::MAX, 1.0]);
    let mut cases = Vec::new();
    for (name, settings) in settings() {
        cases.push(case(name, &drawn, &settings));
        cases.push(case(&format!("{name}, equal logits"), &Floats::given(&equal), &settings));
    }
    cases.push(case("zeros of both signs", &zeros, &Sampler { top_k: 2, ..at(1.0) }));
    cases.push(case("zeros of both signs, greedy", &zeros, &Sampler::greedy()));
    cases.push(case("far apart", &far, &at(f32::MAX)));
    cases.push(case("far apart, cold", &far, &at(f32::from_bits(1))));
    File::new("sampling", &["sampling"], &cases)
}

fn case(name: &str, logits: &Floats, settings: &Sampler) -> Case {
    let history = [1, 3, 3, 7, 7, 7, 250, 1_000_000];
    let token =
        |position: &u32| choose(&logits.values, settings, &SEED, *position, &history).expect("a token");
    let tokens: Vec<u32> = POSITIONS.iter().map(token).collect();
    let case = settings_of(Case::new(name).input("logits", logits), settings);
    let case = case.digest("seed", &SEED).ints("history", &history);
    case.ints("positions", &POSITIONS).ints("tokens", &tokens)
}

/// The fields of a request's sampler.
pub fn settings_of(case: Case, settings: &Sampler) -> Case {
    let (tokens, biases): (Vec<u32>, Vec<f32>) =
        settings.logit_bias.iter().map(|(token, bias)| (*token, bias.get())).unzip();
    case.float("temperature", settings.temperature.get())
        .int("top_k", settings.top_k as usize)
        .float("top_p", settings.top_p.get())
        .float("min_p", settings.min_p.get())
        .float("repetition_penalty", settings.repetition_penalty.get())
        .float("presence_penalty", settings.presence_penalty.get())
        .float("frequency_penalty", settings.frequency_penalty.get())
        .ints("bias_tokens", &tokens)
        .floats("biases", &biases)
}

/// Log probabilities of a token and of the likeliest.
pub fn logprobs() -> File {
    let inputs = [
        ("drawn", Floats::plain(131, 200), 17, 5),
        ("equal logits", Floats::given(&[1.0, -2.0, 3.5, 3.5, -0.0, 0.0]), 1, 6),
        ("certain", Floats::given(&[50.0, -50.0]), 0, 1),
        ("impossible", Floats::given(&[80.0, -80.0, 0.0]), 1, 0),
    ];
    let cases = inputs.map(|(name, logits, chosen, top)| {
        let found = logprobs_of(&logits.values, chosen, top);
        let (tokens, logs): (Vec<u32>, Vec<f32>) = found.top.into_iter().unzip();
        let case = Case::new(name).input("logits", &logits).int("chosen", chosen as usize).int("top", top);
        case.float("result", found.chosen).ints("top_tokens", &tokens).floats("top_result", &logs)
    });
    File::new("logprobs", &["sampling"], &cases)
}
