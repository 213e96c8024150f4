//! Products of activations and weight matrices, over all threads of a pool.

use std::marker::PhantomData;
use std::ops::Range;

use crate::activation::{Activations, Group};
use crate::cpu::dispatched;
use crate::lanes;
use crate::matrix::Matrix;
use crate::pool::Pool;
use crate::reference::LANES;

/// A matrix, and where its products go.
#[derive(Debug)]
pub struct Product<'a> {
    /// `[rows, cols]`.
    pub matrix: &'a Matrix,
    /// `[rows of activations, rows of the matrix]`.
    pub out: &'a mut [f32],
}

/// `out[i] = matrix · x[i]` for every row of `x` and every product, all in one round of the pool.
///
/// # Panics
/// When the shapes do not fit.
pub fn matmul(pool: &Pool, x: &Activations, products: &mut [Product<'_>]) {
    let mut outputs = Vec::with_capacity(products.len());
    let mut tiles = 0;
    for Product { matrix, out } in products {
        assert_eq!(matrix.cols(), x.cols(), "columns of matrix and activations");
        assert_eq!(out.len(), x.rows() * matrix.rows(), "room for every product");
        outputs.push(Output { matrix, first: out.as_mut_ptr(), len: out.len(), tiles, borrow: PhantomData });
        tiles += matrix.tiles();
    }
    let groups = x.groups();
    pool.for_each_range(tiles, x.rows() * x.cols() * LANES, |range| {
        for output in &outputs {
            // SAFETY: the ranges that a pool hands out are disjoint.
            let mut columns = unsafe { output.columns(&range) };
            pool.cpu().multiply_tiles(output.matrix, groups, &mut columns);
        }
    });
}

dispatched! {
    /// The products with the weight rows of the tiles of `out`.
    fn multiply_tiles(matrix: &Matrix, x: &[Group], out: &mut TileColumns<'_>) = lanes::tiles::multiply;
}

/// The result of a product, whose columns several threads write.
struct Output<'a> {
    matrix: &'a Matrix,
    first: *mut f32,
    len: usize,
    /// Tiles of the products before.
    tiles: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for a `&mut [f32]` whose columns are handed to one thread each.
unsafe impl Sync for Output<'_> {}

impl Output<'_> {
    /// The columns of those of these tiles that are this product's.
    ///
    /// # Safety
    /// No tile may be lent twice at a time.
    unsafe fn columns(&self, tiles: &Range<usize>) -> TileColumns<'_> {
        let own = |tile: usize| tile.saturating_sub(self.tiles).min(self.matrix.tiles());
        TileColumns { output: self, tiles: own(tiles.start)..own(tiles.end) }
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

    /// Where a tile's columns of a row begin, to be asked for.
    #[inline(always)]
    pub(crate) fn place(&self, row: usize, tile: usize) -> *const f32 {
        self.output.first.wrapping_add(row * self.output.matrix.rows() + tile * LANES)
    }

    /// Writes a tile's columns of one row; lanes beyond the last column are dropped.
    #[inline(always)]
    pub(crate) fn write(&mut self, row: usize, tile: usize, values: &[f32; LANES]) {
        let width = self.output.matrix.rows();
        let count = LANES.min(width - tile * LANES);
        let start = row * width + tile * LANES;
        assert!(self.tiles.contains(&tile) && start + count <= self.output.len);
        // SAFETY: within the slice, and inside this tile's columns, which belong to this value alone.
        let columns = unsafe { std::slice::from_raw_parts_mut(self.output.first.add(start), count) };
        // A copy of known length is one move.
        match <&mut [f32; LANES]>::try_from(&mut *columns) {
            Ok(columns) => *columns = *values,
            Err(_) => columns.copy_from_slice(&values[..count]),
        }
    }
}
