//! Attention, and the choice and sum of experts.

use assay_kernels::reference;

use super::draws::Floats;
use super::form::{Case, File};
use super::functions::{Attention, Functions};

/// Lengths around the ends of lanes, pages and segments; with windows; with numbers that binary16 cannot hold.
pub fn attention(functions: &dyn Functions) -> File {
    let mut cases = Vec::new();
    for head_size in [2, 16, 24, 80] {
        for (first, end) in [(0, 1), (0, 2), (0, 16), (0, 17), (0, 65), (0, 257)] {
            cases.push(case(functions, "whole", head_size, first..end));
        }
    }
    for (first, end) in [(3, 20), (15, 16), (17, 300), (250, 257), (255, 256), (256, 600)] {
        cases.push(case(functions, "window", 16, first..end));
    }
    cases.push(with_subnormals(functions));
    let defines = ["attention-f16-cache", "attention-bidirectional", "window"];
    File::new("attention", &defines, &cases)
}

fn case(functions: &dyn Functions, name: &str, head_size: usize, span: std::ops::Range<usize>) -> Case {
    let seed = (head_size * 10_000 + span.end) as u64;
    let query = Floats::plain(seed, head_size);
    let keys = Floats::plain(seed + 1, head_size * span.end);
    let values = Floats::plain(seed + 2, head_size * span.end);
    attended(functions, name, [query, keys, values], span.start)
}

/// Keys and values that round to subnormals of binary16 and to zero, and queries with a clear favourite.
fn with_subnormals(functions: &dyn Functions) -> Case {
    let smaller = |seed, by: f32| {
        let values: Vec<f32> = Floats::plain(seed, 16 * 12).values.iter().map(|x| x * by).collect();
        Floats::given(&values)
    };
    let query: Vec<f32> = Floats::plain(101, 16).values.iter().map(|x| x * 4e5).collect();
    let inputs = [Floats::given(&query), smaller(102, 3e-5), smaller(103, 2e-7)];
    attended(functions, "subnormals", inputs, 0)
}

fn attended(functions: &dyn Functions, name: &str, [query, keys, values]: [Floats; 3], first: usize) -> Case {
    let scale = 1.0 / (query.values.len() as f32).sqrt();
    let result = functions.attention(&Attention {
        query: &query.values,
        keys: &keys.values,
        values: &values.values,
        first,
        scale,
    });
    let positions = keys.values.len() / query.values.len();
    let case = Case::new(name).int("first", first).int("positions", positions).float("scale", scale);
    let case = case.input("query", &query).input("keys", &keys).input("values", &values);
    case.floats("result", &result)
}

/// Which experts, with what weights, and the sum of what they return.
pub fn experts(functions: &dyn Functions) -> File {
    const WIDTH: usize = 4;
    let inputs = [
        ("drawn", Floats::plain(111, 8), 2),
        ("drawn", Floats::plain(112, 64), 8),
        ("all", Floats::plain(113, 4), 4),
        ("equal logits", Floats::given(&[0.5, 1.5, -1.0, 1.5, 1.5, 0.5]), 2),
        ("far apart", Floats::given(&[0.0, 200.0, -200.0, 90.0]), 3),
    ];
    let cases = inputs.map(|(name, logits, chosen)| {
        let mut routed = reference::route(&logits.values, chosen);
        let experts: Vec<u32> = routed.iter().map(|(expert, _)| *expert as u32).collect();
        let weights: Vec<f32> = routed.iter().map(|(_, weight)| *weight).collect();
        let outputs = Floats::plain(114, WIDTH * logits.values.len());
        routed.sort_by_key(|(expert, _)| *expert);
        let sum = routed.iter().fold(vec![0.0; WIDTH], |sum, (expert, weight)| {
            functions.add_scaled(&sum, *weight, &outputs.values[expert * WIDTH..][..WIDTH])
        });
        let case = Case::new(name).input("logits", &logits).int("used", chosen);
        let case = case.ints("chosen", &experts).floats("weights", &weights);
        case.int("width", WIDTH).input("outputs", &outputs).floats("result", &sum)
    });
    File::new("experts", &["experts"], &cases)
}
