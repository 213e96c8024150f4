//! Rotations: angles under every stretch, and both pairings.

use assay_kernels::reference::{Pairing, Rope, Scaling, Yarn};

use super::draws::Floats;
use super::form::{Case, File};
use super::functions::Functions;

const POSITIONS: [u32; 8] = [0, 1, 2, 63, 64, 1_000, 8_191, 131_071];

/// Cosines and sines of every pair at some positions.
pub fn angles() -> File {
    let factors: Vec<f32> = (0..12).map(|i| 1.0 + 0.37 * i as f32).collect();
    let yarn = |factor, context_original, beta_fast, beta_slow| Yarn {
        factor,
        context_original,
        beta_fast,
        beta_slow,
    };
    let stretches = [
        ("rope-linear", Scaling::Linear(4.0)),
        ("rope-factors", Scaling::Factors(factors)),
        ("rope-yarn", Scaling::Yarn(yarn(4.0, 64, 32.0, 1.0))),
        ("rope-yarn", Scaling::Yarn(yarn(2.5, 4_096, 20.0, 1.5))),
    ];
    let mut cases = vec![
        case("none", 10_000.0, 16, &Scaling::None, 1.0),
        case("none", 1_000_000.0, 24, &Scaling::None, 1.0),
        case("none", 500_000.0, 12, &Scaling::None, 1.19),
    ];
    for (name, scaling) in stretches {
        let magnitude = if let Scaling::Yarn(yarn) = &scaling { yarn.magnitude() } else { 1.0 };
        cases.push(case(name, 10_000.0, 24, &scaling, magnitude));
    }
    let defines = ["rope-interleaved", "rope-halves", "rope-linear", "rope-factors", "rope-yarn"];
    File::new("rope-angles", &defines, &cases)
}

fn case(name: &str, base: f32, rotated: usize, scaling: &Scaling, magnitude: f64) -> Case {
    let rope = Rope::new(Pairing::Halves, base, rotated, scaling, magnitude);
    let case = Case::new(name).float("base", base).int("rotated", rotated);
    let case = match scaling {
        Scaling::None => case,
        Scaling::Linear(factor) => case.float("factor", *factor),
        Scaling::Factors(factors) => case.floats("factors", factors),
        Scaling::Yarn(yarn) => case
            .float("factor", yarn.factor)
            .int("original", yarn.context_original as usize)
            .float("beta_fast", yarn.beta_fast)
            .float("beta_slow", yarn.beta_slow),
    };
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    for position in POSITIONS {
        let (mut of_cos, mut of_sin) = (vec![0.0; rope.pairs()], vec![0.0; rope.pairs()]);
        rope.angles(position, &mut of_cos, &mut of_sin);
        cos.extend(of_cos);
        sin.extend(of_sin);
    }
    let case = case.bytes("magnitude", &magnitude.to_le_bytes());
    case.ints("positions", &POSITIONS).floats("cos", &cos).floats("sin", &sin)
}

/// Heads of several sizes, whole and in part.
pub fn rotations(functions: &dyn Functions) -> File {
    let mut cases = Vec::new();
    for (name, pairing) in [("rope-interleaved", Pairing::Interleaved), ("rope-halves", Pairing::Halves)] {
        for (head_size, rotated, position) in
            [(2, 2, 5), (6, 6, 1), (32, 32, 77), (80, 80, 3), (96, 64, 1_234)]
        {
            let rope = Rope::new(pairing, 10_000.0, rotated, &Scaling::None, 1.0);
            let (mut cos, mut sin) = (vec![0.0; rope.pairs()], vec![0.0; rope.pairs()]);
            rope.angles(position, &mut cos, &mut sin);
            let x = Floats::wild((head_size + rotated) as u64, head_size);
            let result = functions.rotate(pairing, &x.values, &cos, &sin);
            let case =
                Case::new(name).input("x", &x).int("rotated", rotated).int("position", position as usize);
            cases.push(case.floats("cos", &cos).floats("sin", &sin).floats("result", &result));
        }
    }
    File::new("rope", &["rope-interleaved", "rope-halves"], &cases)
}
