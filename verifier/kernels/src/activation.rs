//! Rows of activations in the forms that matrices take.

use crate::cpu::dispatched;
use crate::lanes;
use crate::matrix::Matrix;
use crate::pool::Pool;
use crate::reference::BLOCK;

/// One row: the values and, where a matrix asks for them, their blocks.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub values: Vec<f32>,
    pub quants: Vec<[i8; BLOCK]>,
    pub scales: Vec<f32>,
    /// Sum of each block's integers, by which back ends with unsigned weights correct their dot.
    pub sums: Vec<i32>,
}

/// The input of matrix products: up to a fixed number of rows of equal length.
#[derive(Debug)]
pub struct Activations {
    rows: Vec<Row>,
    used: usize,
    cols: usize,
}

impl Activations {
    /// Room for `rows_max` rows of `cols` values.
    pub fn new(rows_max: usize, cols: usize) -> Self {
        let blocks = cols / BLOCK;
        let row = Row {
            values: vec![0.0; cols],
            quants: vec![[0; BLOCK]; blocks],
            scales: vec![0.0; blocks],
            sums: vec![0; blocks],
        };
        Self { rows: vec![row; rows_max], used: 0, cols }
    }

    /// Lets `write` fill each of `rows` rows, and prepares them for `consumers`.
    ///
    /// # Panics
    /// When there is no room for as many rows, or a consumer has another number of columns.
    pub fn fill(
        &mut self,
        pool: &Pool,
        rows: usize,
        consumers: &[&Matrix],
        write: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        assert!(consumers.iter().all(|matrix| matrix.cols() == self.cols), "rows of {}", self.cols);
        let quantised = consumers.iter().any(|matrix| matrix.weight_type().takes_blocks());
        self.used = rows;
        let cpu = pool.cpu();
        pool.for_each(&mut self.rows[..rows], self.cols * OPS_PER_VALUE, |index, row| {
            write(index, &mut row.values);
            if quantised {
                cpu.quantise_row(&row.values, &mut row.quants, &mut row.scales, &mut row.sums);
            }
        });
    }

    /// Number of columns.
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// The rows that were filled last.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows[..self.used]
    }
}

/// What producing and quantising a value costs, in multiply-adds of a matrix product.
const OPS_PER_VALUE: usize = 8;

dispatched! {
    /// Quantises a row of whole blocks; see [`quantise_block`](crate::reference::quantise_block).
    pub(crate) fn quantise_row(
        values: &[f32],
        quants: &mut [[i8; BLOCK]],
        scales: &mut [f32],
        sums: &mut [i32],
    ) = lanes::rows::quantise;
}
