//! The generator, conversions between formats of numbers, and quantisers.

use assay_kernels::WeightType;
use assay_kernels::float::{bf16_to_f32, f16_to_f32, f32_to_f16};
use assay_kernels::quantise;

use super::draws::{Floats, Rows, SplitMix64};
use super::form::{Case, File};
use super::functions::activation_blocks;

/// The first values of each draw.
pub fn generator() -> File {
    let mut random = SplitMix64(7);
    let draws: Vec<u8> = (0..4).flat_map(|_| random.next().to_le_bytes()).collect();
    let mut cases = vec![
        Case::new("splitmix64").int("seed", 7).bytes("u64", &draws),
        Case::new("plain").int("seed", 7).floats("result", &Floats::plain(7, 8).values),
        Case::new("wild").int("seed", 7).floats("result", &Floats::wild(7, 64).values),
    ];
    cases.extend(WeightType::ALL.map(|weight_type| {
        let (cols, _) = weight_type.block();
        let rows = Rows::drawn(weight_type, 1, cols.max(8), 7);
        Case::new("weights").text("type", weight_type.name()).int("seed", 7).bytes("result", &rows.bytes)
    }));
    File::new("generator", &[], &cases)
}

/// Patterns at every boundary of binary16 and bfloat16, and one in 509 of the others.
pub fn widening() -> File {
    let edges = [0, 1, 0x3ff, 0x400, 0x3c00, 0x7bff, 0x7c00, 0x0080, 0x007f, 0x3f80, 0x7f7f, 0x7f80];
    let of_both_signs = edges.into_iter().flat_map(|bits| [bits, bits | 0x8000]);
    let bits: Vec<u16> = of_both_signs.chain((0..=u16::MAX).step_by(509)).collect();
    let widened = |widen: fn(u16) -> f32| bits.iter().map(|bits| widen(*bits)).collect::<Vec<_>>();
    let cases = [
        Case::new("binary16").halves("x", &bits).floats("result", &widened(f16_to_f32)),
        Case::new("bfloat16").halves("x", &bits).floats("result", &widened(bf16_to_f32)),
    ];
    File::new("widening", &[], &cases)
}

/// To binary16: exact values, ties to both sides, overflow, underflow and subnormal results.
pub fn rounding() -> File {
    let mut values = vec![0.0, 1.0, 65_504.0, 65_519.996, 65_520.0, 65_536.0, f32::MAX, f32::INFINITY];
    // Halfway, and a step to both sides: between 1 and its neighbours, and in and under the subnormals.
    for halfway in
        [0x3f80_1000u32, 0x3f80_3000, 0x3380_0000, 0x3300_0000, 0x3340_0000, 0x387f_e000, 0x387f_d000]
    {
        values.extend([halfway - 1, halfway, halfway + 1].map(f32::from_bits));
    }
    values.extend([f32::from_bits(1), f32::MIN_POSITIVE]);
    let negative: Vec<f32> = values.iter().map(|x| -x).collect();
    values.extend(negative);
    let case = |name, input: &Floats| {
        let halves: Vec<u16> = input.values.iter().map(|x| f32_to_f16(*x)).collect();
        Case::new(name).input("x", input).halves("result", &halves)
    };
    let cases = [case("edges", &Floats::given(&values)), case("drawn", &Floats::wild(11, 256))];
    File::new("rounding-f16", &["attention-f16-cache"], &cases)
}

/// Activations, in blocks.
pub fn blocks() -> File {
    let block = |fill: &dyn Fn(usize) -> f32| Floats::given(&std::array::from_fn::<f32, 32, _>(fill));
    let inputs = [
        ("drawn", Floats::plain(21, 128)),
        ("wild", Floats::wild(22, 256)),
        ("zeros", block(&|i| if i % 2 == 0 { 0.0 } else { -0.0 })),
        ("the inverse is infinite", block(&|i| if i == 3 { 3.7e-37 } else { 0.0 })),
        ("the inverse is finite", block(&|i| if i == 3 { 3.8e-37 } else { -1e-37 })),
        ("subnormals", block(&|i| f32::from_bits(i as u32 * 40_000))),
        ("ties", block(&|i| if i == 0 { 127.0 } else { i as f32 - 15.5 })),
        ("negative extreme", block(&|i| if i == 31 { -254.0 } else { i as f32 * 4.0 + 1.0 })),
        ("largest", block(&|i| if i == 5 { f32::MAX } else { -f32::MAX / (i + 1) as f32 })),
    ];
    let cases = inputs.map(|(name, input)| {
        let blocks = activation_blocks(&input.values);
        let scales: Vec<f32> = blocks.iter().map(|(scale, _)| *scale).collect();
        let integers: Vec<u8> = blocks.iter().flat_map(|(_, quants)| quants.map(i8::cast_unsigned)).collect();
        Case::new(name).input("x", &input).floats("scales", &scales).bytes("integers", &integers)
    });
    File::new("quantise-block", &["product-q8_0"], &cases)
}

/// The canonical quantisers of files.
pub fn quantisers() -> File {
    let ties: Vec<f32> = (0..32).map(|i| if i == 0 { 127.0 } else { i as f32 - 15.5 }).collect();
    let inputs = [
        ("drawn", Floats::plain(31, 96)),
        ("ties", Floats::given(&ties)),
        ("zeros", Floats::given(&[0.0; 32])),
        ("tiny", Floats::given(&[1e-38; 32])),
        ("equal magnitudes", Floats::given(&[[-2.0, 2.0]; 16].concat())),
    ];
    let cases = inputs.map(|(name, input)| {
        let q8_0 = quantise::q8_0(&input.values).expect("finite blocks");
        let q4_0 = quantise::q4_0(&input.values).expect("finite blocks");
        Case::new(name).input("x", &input).bytes("q8_0", &q8_0).bytes("q4_0", &q4_0)
    });
    File::new("quantisers", &[], &cases)
}
