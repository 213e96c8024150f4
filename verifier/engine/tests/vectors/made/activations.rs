//! The exponential, the error function, and the activations made of them.

use assay_kernels::reference;

use super::draws::Floats;
use super::form::{Case, File};
use super::functions::Functions;

/// Ends, zeros, subnormals, infinities and a NaN.
const EDGES: [f32; 20] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    4.0,
    -4.0,
    4.000_000_5,
    -3.999_999_8,
    88.3,
    88.300_01,
    -87.3,
    -87.300_01,
    1e30,
    -1e30,
    f32::MIN_POSITIVE,
    -1e-42,
    f32::MAX,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// Steps over the range in which the functions change.
fn steps(first: f32, step: f32, count: usize) -> Floats {
    let values: Vec<f32> = (0..count).map(|i| first + i as f32 * step).collect();
    Floats::given(&values)
}

fn of_one(name: &str, defines: &[&str], range: &Floats, apply: impl Fn(&[f32]) -> Vec<f32>) -> File {
    let inputs = [
        ("edges", &Floats::given(&EDGES)),
        ("range", range),
        ("plain", &Floats::plain(41, 256)),
        ("wild", &Floats::wild(42, 256)),
    ];
    let cases = inputs.map(|(name, x)| Case::new(name).input("x", x).floats("result", &apply(&x.values)));
    File::new(name, defines, &cases)
}

/// Of a gate and a factor.
fn of_two(name: &str, range: &Floats, apply: impl Fn(&[f32], &[f32]) -> Vec<f32>) -> File {
    let ones = Floats::given(&[1.0; EDGES.len()]);
    let inputs = [
        ("edges", &Floats::given(&EDGES), &ones),
        ("range", range, &Floats::plain(43, range.values.len())),
        ("wild", &Floats::wild(44, 256), &Floats::wild(45, 256)),
    ];
    let cases = inputs.map(|(name, gate, up)| {
        let result = apply(&gate.values, &up.values);
        Case::new(name).input("gate", gate).input("up", up).floats("result", &result)
    });
    File::new(name, &[name], &cases)
}

pub fn exp() -> File {
    let apply = |x: &[f32]| x.iter().map(|x| reference::exp(*x)).collect();
    of_one("exp", &["swiglu", "geglu", "attention-f16-cache", "sampling"], &steps(-88.0, 0.7, 253), apply)
}

pub fn erf() -> File {
    let apply = |x: &[f32]| x.iter().map(|x| reference::erf(*x)).collect();
    of_one("erf", &["gelu"], &steps(-4.1, 0.041, 201), apply)
}

pub fn gelu(functions: &dyn Functions) -> File {
    of_one("gelu", &["gelu"], &steps(-6.2, 0.062, 201), |x| functions.gelu(x))
}

pub fn swiglu(functions: &dyn Functions) -> File {
    of_two("swiglu", &steps(-90.0, 0.9, 201), |gate, up| functions.swiglu(gate, up))
}

pub fn geglu(functions: &dyn Functions) -> File {
    of_two("geglu", &steps(-11.0, 0.11, 201), |gate, up| functions.geglu(gate, up))
}
