//! Operations over rows: norms and pooling.

use super::draws::Floats;
use super::form::{Case, File};
use super::functions::Functions;

/// Lengths around the ends of lanes.
const LENGTHS: [usize; 7] = [1, 2, 15, 16, 17, 96, 250];

pub fn rms_norm(functions: &dyn Functions) -> File {
    let case = |name: &str, x: &Floats, weight: &Floats, epsilon: f32| {
        let result = functions.rms_norm(&x.values, &weight.values, epsilon);
        let case = Case::new(name).input("x", x).input("weight", weight).float("epsilon", epsilon);
        case.floats("result", &result)
    };
    let mut cases = Vec::from(LENGTHS.map(|len| {
        let seed = len as u64;
        case("drawn", &Floats::plain(seed, len), &Floats::plain(seed + 1_000, len), 1e-5)
    }));
    let weight = Floats::plain(51, 64);
    cases.extend([
        case("zeros", &Floats::given(&[0.0; 64]), &weight, 1e-6),
        case("tiny, so that the squares are nought", &Floats::given(&[1e-30; 64]), &weight, 1e-6),
        case("wild", &Floats::wild(52, 64), &weight, 1e-6),
        case("the squares overflow", &Floats::given(&[3e20; 64]), &weight, 1e-6),
    ]);
    File::new("rms-norm", &["rms-norm"], &cases)
}

pub fn layer_norm(functions: &dyn Functions) -> File {
    let case = |name: &str, x: &Floats, seed: u64| {
        let (weight, bias) = (Floats::plain(seed, x.values.len()), Floats::plain(seed + 1, x.values.len()));
        let result = functions.layer_norm(&x.values, &weight.values, &bias.values, 1e-12);
        let case = Case::new(name).input("x", x).input("weight", &weight).input("bias", &bias);
        case.float("epsilon", 1e-12).floats("result", &result)
    };
    let mut cases =
        Vec::from(LENGTHS.map(|len| case("drawn", &Floats::plain(len as u64, len), len as u64 + 2_000)));
    cases.extend([
        case("zeros", &Floats::given(&[0.0; 48]), 61),
        case("equal", &Floats::given(&[3.7; 48]), 62),
        case("wild", &Floats::wild(63, 48), 64),
    ]);
    File::new("layer-norm", &["layer-norm"], &cases)
}

pub fn l2_norm(functions: &dyn Functions) -> File {
    let case = |name: &str, x: &Floats| {
        Case::new(name).input("x", x).floats("result", &functions.l2_norm(&x.values))
    };
    let mut cases = Vec::from(LENGTHS.map(|len| case("drawn", &Floats::plain(len as u64, len))));
    cases.extend([
        case("zeros", &Floats::given(&[0.0, -0.0, 0.0])),
        case("shorter than the bound", &Floats::given(&[1e-13; 40])),
        case("wild", &Floats::wild(71, 48)),
    ]);
    File::new("l2-norm", &["l2-norm"], &cases)
}

/// Counts of rows around the ends of segments.
pub fn mean_pooling(functions: &dyn Functions) -> File {
    let shapes = [(1, 5), (2, 5), (17, 20), (255, 7), (256, 7), (257, 7), (600, 3)];
    let cases = shapes.map(|(rows, width)| {
        let x = Floats::plain((rows * width) as u64, rows * width);
        let result = functions.mean_rows(&x.values, width);
        Case::new("drawn").int("rows", rows).int("width", width).input("x", &x).floats("result", &result)
    });
    File::new("mean-pooling", &["mean-pooling"], &cases)
}
