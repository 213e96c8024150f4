//! Products and rows of every type of weights, a file a type.

use assay_kernels::WeightType;

use super::draws::{Floats, Rows};
use super::form::{Case, File};
use super::functions::Functions;

pub fn products(functions: &dyn Functions) -> Vec<File> {
    let file = |weight_type: WeightType| {
        let (product, row) =
            (format!("product-{}", weight_type.name()), format!("row-{}", weight_type.name()));
        let mut cases = lengths(functions, weight_type);
        cases.extend(inputs(functions, weight_type));
        cases.extend(specials(functions, weight_type));
        File::new(&product, &[&product, &row], &cases)
    };
    WeightType::ALL.into_iter().map(file).collect()
}

fn product(functions: &dyn Functions, name: &str, rows: &Rows, x: &Floats) -> Case {
    let case = Case::new(name).int("cols", rows.cols).rows("rows", rows).input("x", x);
    case.floats("result", &functions.products(rows, &x.values))
}

/// Three rows of every length around the ends of lanes, blocks and segments.
fn lengths(functions: &dyn Functions, weight_type: WeightType) -> Vec<Case> {
    let lengths: &[usize] = match weight_type.block().0 {
        1 => &[1, 17, 255, 256, 257, 512, 600],
        32 => &[32, 64, 224, 256, 288, 512, 544],
        _ => &[256, 512, 768],
    };
    let case = |cols: &usize| {
        let seed = *cols as u64;
        let (rows, x) = (Rows::drawn(weight_type, 3, *cols, seed), Floats::plain(seed + 5_000, *cols));
        product(functions, "length", &rows, &x)
    };
    lengths.iter().map(case).collect()
}

/// Inputs that are more than plain numbers.
fn inputs(functions: &dyn Functions, weight_type: WeightType) -> Vec<Case> {
    const COLS: usize = 256;
    let rows = Rows::drawn(weight_type, 2, COLS, 81);
    let mut with_zero_blocks = Floats::plain(82, COLS).values;
    for (index, block) in with_zero_blocks.chunks_exact_mut(32).enumerate() {
        match index {
            1 => block.fill(-0.0),
            3 => block.fill(3e-38),
            4 => block[1..].fill(0.0),
            _ => {}
        }
    }
    vec![
        product(functions, "wild inputs", &rows, &Floats::wild(83, COLS)),
        product(functions, "zero inputs", &rows, &Floats::given(&[-0.0; COLS])),
        product(functions, "blocks of zeros", &rows, &Floats::given(&with_zero_blocks)),
    ]
}

/// Weights at the ends of their types, with the row as numbers.
fn specials(functions: &dyn Functions, weight_type: WeightType) -> Vec<Case> {
    let drawn = Rows::drawn(weight_type, 1, weight_type.block().0.max(32), 91);
    let mut special = vec![("drawn weights", drawn.clone())];
    if weight_type.integers().is_none() {
        special.push(("special numbers", special_numbers(weight_type)));
    } else {
        for (name, scale) in [
            ("largest scale", 0x7bffu16),
            ("smallest scale", 0x0001),
            ("negative scale", 0xc400),
            ("scale of zero", 0x0000),
            ("scale of minus zero", 0x8000),
        ] {
            let mut bytes = drawn.bytes.clone();
            for at in weight_type.halves_at() {
                bytes[*at..at + 2].copy_from_slice(&scale.to_le_bytes());
            }
            special.push((name, Rows::given(weight_type, bytes, drawn.cols)));
        }
        for (name, byte) in [("all bits clear", 0x00u8), ("all bits set", 0xff), ("top bits set", 0x80)] {
            let mut bytes = vec![byte; drawn.bytes.len()];
            for (at, scale) in weight_type.halves_at().iter().zip([0x3801u16, 0xb003]) {
                bytes[*at..at + 2].copy_from_slice(&scale.to_le_bytes());
            }
            special.push((name, Rows::given(weight_type, bytes, drawn.cols)));
        }
    }
    let case = |(name, rows): (&str, Rows)| {
        let x = Floats::plain(92, rows.cols);
        product(functions, name, &rows, &x).floats("row", &functions.row(&rows))
    };
    special.into_iter().map(case).collect()
}

/// Zeros of both signs, subnormals, the smallest normal, the largest that products with plain numbers bear.
fn special_numbers(weight_type: WeightType) -> Rows {
    let halves: &[u16] = match weight_type {
        WeightType::F16 => &[0, 0x8000, 1, 0x8001, 0x3ff, 0x400, 0x3c00, 0x7bff, 0xfbff],
        // The upper halves of binary32, too.
        _ => &[0, 0x8000, 1, 0x8001, 0x7f, 0x80, 0x3f80, 0x6000, 0xe000],
    };
    let wide = weight_type == WeightType::F32;
    let bytes = halves.iter().flat_map(|half| match wide {
        true => (u32::from(*half) << 16 | u32::from(*half & 1)).to_le_bytes().to_vec(),
        false => half.to_le_bytes().to_vec(),
    });
    Rows::given(weight_type, bytes.collect(), halves.len())
}
