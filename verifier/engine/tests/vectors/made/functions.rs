//! What vectors are made by: the scalar reference, or in the test the kernels of an instruction set.

use assay_kernels::Cpu;
use assay_kernels::float::f32_to_f16;
use assay_kernels::reference::{self, ActivationBlock, BLOCK, Pairing};

use super::draws::Rows;

/// The operations that have kernels beside their reference.
pub trait Functions {
    /// What runs whole models.
    fn cpu(&self) -> Cpu;
    fn rms_norm(&self, x: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32>;
    fn layer_norm(&self, x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32) -> Vec<f32>;
    fn l2_norm(&self, x: &[f32]) -> Vec<f32>;
    fn gelu(&self, x: &[f32]) -> Vec<f32>;
    fn swiglu(&self, gate: &[f32], up: &[f32]) -> Vec<f32>;
    fn geglu(&self, gate: &[f32], up: &[f32]) -> Vec<f32>;
    /// The mean of rows that stand one after the other.
    fn mean_rows(&self, rows: &[f32], width: usize) -> Vec<f32>;
    /// One head, rotated.
    fn rotate(&self, pairing: Pairing, head: &[f32], cos: &[f32], sin: &[f32]) -> Vec<f32>;
    /// `fma(weight, y, x)` of every element.
    fn add_scaled(&self, x: &[f32], weight: f32, y: &[f32]) -> Vec<f32>;
    /// The product of every row with `x`.
    fn products(&self, rows: &Rows, x: &[f32]) -> Vec<f32>;
    /// The first row as numbers.
    fn row(&self, rows: &Rows) -> Vec<f32>;
    fn attention(&self, what: &Attention<'_>) -> Vec<f32>;
}

/// One query over the positions from `first` on; keys and values, of all positions from 0 on, are not yet
/// rounded to binary16.
pub struct Attention<'a> {
    pub query: &'a [f32],
    pub keys: &'a [f32],
    pub values: &'a [f32],
    pub first: usize,
    pub scale: f32,
}

/// The scalar reference.
pub struct Reference;

impl Functions for Reference {
    fn cpu(&self) -> Cpu {
        Cpu::portable()
    }

    fn rms_norm(&self, x: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        reference::rms_norm(x, weight, epsilon, &mut out);
        out
    }

    fn layer_norm(&self, x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        reference::layer_norm(x, weight, bias, epsilon, &mut out);
        out
    }

    fn l2_norm(&self, x: &[f32]) -> Vec<f32> {
        let mut out = x.to_vec();
        reference::l2_norm(&mut out);
        out
    }

    fn gelu(&self, x: &[f32]) -> Vec<f32> {
        x.iter().map(|x| reference::gelu(*x)).collect()
    }

    fn swiglu(&self, gate: &[f32], up: &[f32]) -> Vec<f32> {
        gate.iter().zip(up).map(|(gate, up)| reference::swiglu(*gate, *up)).collect()
    }

    fn geglu(&self, gate: &[f32], up: &[f32]) -> Vec<f32> {
        gate.iter().zip(up).map(|(gate, up)| reference::geglu(*gate, *up)).collect()
    }

    fn mean_rows(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let mut out = vec![0.0; width];
        reference::mean_rows(&rows.chunks_exact(width).collect::<Vec<_>>(), &mut out);
        out
    }

    fn rotate(&self, pairing: Pairing, head: &[f32], cos: &[f32], sin: &[f32]) -> Vec<f32> {
        let mut out = head.to_vec();
        reference::rotate(pairing, &mut out, cos, sin);
        out
    }

    fn add_scaled(&self, x: &[f32], weight: f32, y: &[f32]) -> Vec<f32> {
        x.iter().zip(y).map(|(x, y)| weight.mul_add(*y, *x)).collect()
    }

    fn products(&self, rows: &Rows, x: &[f32]) -> Vec<f32> {
        let blocks = activation_blocks(x);
        let rows_of = rows.bytes.chunks_exact(rows.row_bytes());
        rows_of.map(|row| reference::dot(rows.weight_type, row, x, &blocks)).collect()
    }

    fn row(&self, rows: &Rows) -> Vec<f32> {
        reference::row_values(rows.weight_type, &rows.bytes[..rows.row_bytes()])
    }

    fn attention(&self, what: &Attention<'_>) -> Vec<f32> {
        let size = what.query.len();
        let halves = |rows: &[f32]| -> Vec<u16> { rows.iter().map(|x| f32_to_f16(*x)).collect() };
        let (keys, values) = (halves(what.keys), halves(what.values));
        let keys: Vec<&[u16]> = keys.chunks_exact(size).skip(what.first).collect();
        let values: Vec<&[u16]> = values.chunks_exact(size).skip(what.first).collect();
        let mut out = vec![0.0; size];
        reference::attention(what.query, what.first, &keys, &values, what.scale, &mut out);
        out
    }
}

/// Activations in the form that quantised weights meet.
pub fn activation_blocks(x: &[f32]) -> Vec<ActivationBlock> {
    let block = |x: &[f32; BLOCK]| {
        let mut quants = [0; BLOCK];
        (reference::quantise_block(x, &mut quants), quants)
    };
    x.as_chunks().0.iter().map(block).collect()
}
