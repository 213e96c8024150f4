//! Products of activations and a weight matrix, over all threads of a pool.

use std::marker::PhantomData;
use std::ops::Range;

use crate::activation::{Activations, Row};
use crate::cpu::dispatched;
use crate::lanes;
use crate::matrix::Matrix;
use crate::pool::Pool;
use crate::reference::LANES;

/// `out[i] = matrix · x[i]` for every row of `x`; `out` is `[x rows, matrix rows]`.
///
/// # Panics
/// When the shapes do not fit.
pub fn matmul(pool: &Pool, matrix: &Matrix, x: &Activations, out: &mut [f32]) {
    let rows = x.rows();
    assert_eq!(matrix.cols(), x.cols(), "columns of matrix and activations");
    assert_eq!(out.len(), rows.len() * matrix.rows(), "room for every product");
    let out = Output { first: out.as_mut_ptr(), len: out.len(), width: matrix.rows(), borrow: PhantomData };
    let tile_ops = rows.len() * matrix.cols() * LANES;
    pool.for_each_range(matrix.tiles(), tile_ops, |tiles| {
        // SAFETY: the ranges that a pool hands out are disjoint.
        let mut columns = unsafe { out.columns(tiles) };
        pool.cpu().multiply_tiles(matrix, rows, &mut columns);
    });
}

dispatched! {
    /// The product with the weight rows of the tiles of `out`.
    fn multiply_tiles(matrix: &Matrix, x: &[Row], out: &mut TileColumns<'_>) = lanes::tiles::multiply;
}

/// The result of a product, whose columns several threads write.
struct Output<'a> {
    first: *mut f32,
    len: usize,
    width: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for a `&mut [f32]` whose columns are handed to one thread each.
unsafe impl Sync for Output<'_> {}

impl Output<'_> {
    /// The columns of these tiles.
    ///
    /// # Safety
    /// No tile may be lent twice at a time.
    unsafe fn columns(&self, tiles: Range<usize>) -> TileColumns<'_> {
        TileColumns { output: self, tiles }
    }
}

/// The columns of a range of tiles, in every row of a result.
pub(crate) struct TileColumns<'a> {
    output: &'a Output<'a>,
    tiles: Range<usize>,
}

impl TileColumns<'_> {
    /// The tiles whose columns these are.
    pub(crate) fn tiles(&self) -> Range<usize> {
        self.tiles.clone()
    }

    /// Writes a tile's columns of one row; lanes beyond the last column are dropped.
    #[inline(always)]
    pub(crate) fn write(&mut self, row: usize, tile: usize, values: &[f32; LANES]) {
        let width = self.output.width;
        let count = LANES.min(width - tile * LANES);
        let start = row * width + tile * LANES;
        assert!(self.tiles.contains(&tile) && start + count <= self.output.len);
        // SAFETY: within the slice, and inside this tile's columns, which belong to this value alone.
        let columns = unsafe { std::slice::from_raw_parts_mut(self.output.first.add(start), count) };
        columns.copy_from_slice(&values[..count]);
    }
}
