//! The kernels of one instruction set.

use std::num::NonZeroUsize;
use std::sync::Arc;

use assay_kernels::reference::Pairing;
use assay_kernels::{
    Activations, CacheShape, Cpu, Head, Matrix, PAGE_POSITIONS, Page, Pool, Product, matmul,
};

use crate::made::draws::Rows;
use crate::made::functions::{Attention, Functions};

pub struct Lanes(Pool);

impl Lanes {
    pub fn new(cpu: Cpu) -> Self {
        Self(Pool::new(NonZeroUsize::new(2).unwrap(), cpu).unwrap())
    }

    fn pack(&self, rows: &Rows) -> Matrix {
        let count = rows.bytes.len() / rows.row_bytes();
        Matrix::pack(&self.0, rows.weight_type, count, rows.cols, &rows.bytes).unwrap()
    }
}

/// A result that a kernel writes into a place of this length.
fn written(len: usize, write: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut out = vec![f32::NAN; len];
    write(&mut out);
    out
}

/// A result that a kernel makes in place.
fn changed(x: &[f32], change: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut out = x.to_vec();
    change(&mut out);
    out
}

impl Functions for Lanes {
    fn cpu(&self) -> Cpu {
        self.0.cpu()
    }

    fn rms_norm(&self, x: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
        written(x.len(), |out| self.cpu().rms_norm(x, weight, epsilon, out))
    }

    fn layer_norm(&self, x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32) -> Vec<f32> {
        written(x.len(), |out| self.cpu().layer_norm(x, weight, bias, epsilon, out))
    }

    fn l2_norm(&self, x: &[f32]) -> Vec<f32> {
        changed(x, |out| self.cpu().l2_norm(out))
    }

    fn gelu(&self, x: &[f32]) -> Vec<f32> {
        changed(x, |out| self.cpu().gelu(out))
    }

    fn swiglu(&self, gate: &[f32], up: &[f32]) -> Vec<f32> {
        written(gate.len(), |out| self.cpu().swiglu(gate, up, out))
    }

    fn geglu(&self, gate: &[f32], up: &[f32]) -> Vec<f32> {
        written(gate.len(), |out| self.cpu().geglu(gate, up, out))
    }

    fn mean_rows(&self, rows: &[f32], width: usize) -> Vec<f32> {
        written(width, |out| self.cpu().mean_rows(rows, out))
    }

    fn rotate(&self, pairing: Pairing, head: &[f32], cos: &[f32], sin: &[f32]) -> Vec<f32> {
        changed(head, |out| self.cpu().rotate(pairing, out, head.len(), cos, sin))
    }

    fn add_scaled(&self, x: &[f32], weight: f32, y: &[f32]) -> Vec<f32> {
        changed(x, |out| self.cpu().add_scaled(out, weight, y))
    }

    fn products(&self, rows: &Rows, x: &[f32]) -> Vec<f32> {
        let matrix = self.pack(rows);
        let mut activations = Activations::new(1, rows.cols);
        activations.fill(&self.0, 1, &[&matrix], |_, out| out.copy_from_slice(x));
        written(matrix.rows(), |out| {
            matmul(&self.0, &activations, &mut [Product { matrix: &matrix, out }]);
        })
    }

    fn row(&self, rows: &Rows) -> Vec<f32> {
        written(rows.cols, |out| self.pack(rows).row(0, out))
    }

    fn attention(&self, what: &Attention<'_>) -> Vec<f32> {
        let head_size = what.query.len();
        let shape = CacheShape { layers: 1, kv_heads: 1, head_size };
        let page_values = PAGE_POSITIONS * head_size;
        let rows = what.keys.chunks(page_values).zip(what.values.chunks(page_values));
        let page = |(keys, values): (&[f32], &[f32])| {
            let mut page = Page::new(shape).unwrap();
            let mut head = page.layer_mut(0).next().unwrap();
            let rows = keys.chunks_exact(head_size).zip(values.chunks_exact(head_size));
            for (position, (key, value)) in rows.enumerate() {
                self.cpu().write_position(&mut head, position, key, value);
            }
            Arc::new(page)
        };
        let pages: Vec<Arc<Page>> = rows.map(page).collect();
        let span = what.first..what.keys.len() / head_size;
        written(head_size, |out| {
            let head = Head::new(&pages, 0, 0);
            self.cpu().attend(what.query, head, std::slice::from_ref(&span), what.scale, out);
        })
    }
}
