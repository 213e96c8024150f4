//! Matrices: what they hold, what they refuse, and their products.

use std::io;

use assay_kernels::reference::{self, ActivationBlock, BLOCK};
use assay_kernels::{Activations, Arena, Matrix, PackError, Pool, Product, ReadError, WeightType, matmul};

use crate::random::Random;
use crate::{assert_same, pools};

/// Column counts around the ends of vectors, blocks and segments.
const NUMBER_COLS: [usize; 8] = [1, 15, 16, 17, 255, 256, 257, 600];
/// Counts of a type's own blocks around the ends of segments.
const BLOCKS: [usize; 6] = [1, 2, 7, 8, 9, 17];
/// Row counts around the ends of tiles.
const ROWS: [usize; 6] = [1, 15, 16, 17, 33, 80];

fn activation_blocks(x: &[f32]) -> Vec<ActivationBlock> {
    let block = |x: &[f32; BLOCK]| {
        let mut quants = [0; BLOCK];
        (reference::quantise_block(x, &mut quants), quants)
    };
    x.as_chunks().0.iter().map(block).collect()
}

fn expected_products(
    weight_type: WeightType,
    bytes: &[u8],
    (rows, cols): (usize, usize),
    x: &[f32],
) -> Vec<f32> {
    let row_bytes = bytes.len() / rows;
    let products = |x: &[f32]| -> Vec<f32> {
        let blocks = activation_blocks(x);
        bytes.chunks_exact(row_bytes).map(|row| reference::dot(weight_type, row, x, &blocks)).collect()
    };
    x.chunks_exact(cols).flat_map(products).collect()
}

fn filled(pool: &Pool, matrix: &Matrix, inputs: usize, x: &[f32]) -> Activations {
    let cols = matrix.cols();
    let mut activations = Activations::new(inputs, cols);
    activations.fill(pool, inputs, &[matrix], |row, out| out.copy_from_slice(&x[row * cols..][..cols]));
    activations
}

fn check_product(weight_type: WeightType, rows: usize, cols: usize, inputs: usize, pools: &[Pool]) {
    let mut random = Random((rows * 31 + cols * 7 + inputs) as u64);
    let bytes = random.weights(weight_type, rows, cols);
    let x = random.activations(inputs * cols);
    let matrix = Matrix::pack(&pools[0], weight_type, rows, cols, &bytes).unwrap();
    let expected = expected_products(weight_type, &bytes, (rows, cols), &x);
    for pool in pools {
        let activations = filled(pool, &matrix, inputs, &x);
        let mut out = vec![f32::NAN; inputs * rows];
        matmul(pool, &activations, &mut [Product { matrix: &matrix, out: &mut out }]);
        let what = format!("{weight_type:?} {rows} x {cols}, {inputs} inputs, {}", pool.cpu().name());
        assert_same(&out, &expected, &what);
    }
}

#[test]
fn products_of_numbers_equal_the_reference() {
    let pools = pools();
    for weight_type in [WeightType::F32, WeightType::F16, WeightType::BF16] {
        for rows in ROWS {
            NUMBER_COLS.iter().for_each(|cols| check_product(weight_type, rows, *cols, 3, &pools));
        }
    }
}

#[test]
fn products_of_quantised_weights_equal_the_reference() {
    let pools = pools();
    for weight_type in WeightType::ALL.into_iter().filter(|weight_type| weight_type.integers().is_some()) {
        for blocks in BLOCKS {
            let cols = blocks * weight_type.block().0;
            ROWS.iter().for_each(|rows| check_product(weight_type, *rows, cols, 3, &pools));
        }
    }
}

#[test]
fn products_of_any_number_of_inputs_equal_the_reference() {
    let pools = pools();
    for weight_type in WeightType::ALL {
        for inputs in [1, 2, 4, 5, 7, 8, 9, 13, 16] {
            check_product(weight_type, 130, 512, inputs, &pools);
        }
    }
}

#[test]
fn several_products_at_once_equal_single_ones() {
    let mut random = Random(4);
    let (cols, inputs) = (256, 5);
    let x = random.activations(inputs * cols);
    let parts = [(WeightType::Q8_0, 40), (WeightType::Q4_K, 7), (WeightType::F16, 33)];
    let pools = pools();
    let parts = parts.map(|(weight_type, rows)| {
        let bytes = random.weights(weight_type, rows, cols);
        let matrix = Matrix::pack(&pools[0], weight_type, rows, cols, &bytes).unwrap();
        (matrix, expected_products(weight_type, &bytes, (rows, cols), &x))
    });
    for pool in &pools {
        let matrices = [&parts[0].0, &parts[1].0, &parts[2].0];
        let mut activations = Activations::new(inputs, cols);
        activations.fill(pool, inputs, &matrices, |row, out| out.copy_from_slice(&x[row * cols..][..cols]));
        let mut outs = matrices.map(|matrix| vec![f32::NAN; inputs * matrix.rows()]);
        let products = outs.iter_mut().zip(matrices);
        let mut products: Vec<_> = products.map(|(out, matrix)| Product { matrix, out }).collect();
        matmul(pool, &activations, &mut products);
        for (out, (matrix, expected)) in outs.iter().zip(&parts) {
            assert_same(out, expected, &format!("{:?}, {}", matrix.weight_type(), pool.cpu().name()));
        }
    }
}

#[test]
fn a_block_with_nan_or_infinity_gives_no_finite_result() {
    let pools = pools();
    for weight_type in WeightType::ALL {
        let bytes = Random(9).weights(weight_type, 20, 256);
        let matrix = Matrix::pack(&pools[0], weight_type, 20, 256, &bytes).unwrap();
        for (pool, bad) in pools.iter().zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().cycle())
        {
            let mut x = [0.5; 256];
            x[40] = bad;
            let activations = filled(pool, &matrix, 1, &x);
            let mut out = vec![0.0; 20];
            matmul(pool, &activations, &mut [Product { matrix: &matrix, out: &mut out }]);
            assert!(out.iter().all(|value| !value.is_finite()), "{weight_type:?} {bad}: {out:?}");
        }
    }
}

#[test]
fn rows_of_a_matrix_are_what_its_type_says() {
    let pools = pools();
    for weight_type in WeightType::ALL {
        let (rows, cols) = (19, 512);
        let bytes = Random(3).weights(weight_type, rows, cols);
        for pool in &pools {
            let matrix = Matrix::pack(pool, weight_type, rows, cols, &bytes).unwrap();
            for (index, row) in bytes.chunks_exact(weight_type.row_bytes(cols).unwrap()).enumerate() {
                let mut out = vec![0.0; cols];
                matrix.row(index, &mut out);
                let expected = reference::row_values(weight_type, row);
                assert_same(&out, &expected, &format!("{weight_type:?} row {index}, {}", pool.cpu().name()));
            }
        }
    }
}

#[test]
fn matrices_that_are_not_finite_or_not_whole_are_refused() {
    let pools = pools();
    let pool = &pools[1];
    for weight_type in WeightType::ALL {
        let row_bytes = weight_type.row_bytes(256).unwrap();
        let places = match weight_type {
            WeightType::F32 => vec![2],
            _ if weight_type.halves_at().is_empty() => vec![0],
            _ => weight_type.halves_at().to_vec(),
        };
        for at in places {
            let mut bytes = Random(5).weights(weight_type, 40, 256);
            // Infinity in binary16, and in the upper half of binary32; two rows are bad, the first is named.
            let infinity =
                if matches!(weight_type, WeightType::F32 | WeightType::BF16) { 0x7f80u16 } else { 0x7c00 };
            for row in [21, 38] {
                let at = (row + 1) * row_bytes - weight_type.block().1 + at;
                bytes[at..at + 2].copy_from_slice(&infinity.to_le_bytes());
            }
            let refused = Matrix::pack(pool, weight_type, 40, 256, &bytes).unwrap_err();
            assert_eq!(refused, PackError::NotFinite { row: 21 }, "{weight_type:?} at {at}");
        }
        let bytes = Random(5).weights(weight_type, 3, 256);
        for (rows, cols) in [(2, 256), (0, 256), (3, 0), (3, 255), (usize::MAX, 256)] {
            let refused = Matrix::pack(pool, weight_type, rows, cols, &bytes);
            assert!(matches!(refused, Err(PackError::Shape { .. })), "{weight_type:?} {rows} x {cols}");
        }
    }
}

#[test]
fn a_source_that_fails_is_named_and_nothing_is_kept() {
    let read = |rows: std::ops::Range<usize>, out: &mut [u8]| {
        out.fill(0);
        if rows.start >= 32 { Err(io::Error::other(format!("row {}", rows.start))) } else { Ok(()) }
    };
    for pool in pools() {
        let failed = Matrix::read(&pool, &Arena::default(), WeightType::Q8_0, 1_000, 320, &read);
        let Err(ReadError::Source(error)) = failed else { panic!("{failed:?}") };
        assert_eq!(error.to_string(), "row 32");
    }
}
