//! Kernels over single rows of activations; all panic when lengths do not fit one another.

use crate::cpu::dispatched;
use crate::lanes;
use crate::reference::Pairing;

dispatched! {
    /// See [`rms_norm`](crate::reference::rms_norm).
    pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) = lanes::rows::rms_norm;

    /// See [`layer_norm`](crate::reference::layer_norm).
    pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) =
        lanes::rows::layer_norm;

    /// See [`l2_norm`](crate::reference::l2_norm).
    pub fn l2_norm(x: &mut [f32]) = lanes::rows::l2_norm;

    /// [`gelu`](crate::reference::gelu) of every element.
    pub fn gelu(x: &mut [f32]) = lanes::rows::gelu;

    /// See [`mean_rows`](crate::reference::mean_rows); the rows stand one after the other.
    pub fn mean_rows(rows: &[f32], out: &mut [f32]) = lanes::rows::mean_rows;

    /// [`swiglu`](crate::reference::swiglu) of every element.
    pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) = lanes::rows::swiglu;

    /// [`geglu`](crate::reference::geglu) of every element.
    pub fn geglu(gate: &[f32], up: &[f32], out: &mut [f32]) = lanes::rows::geglu;

    /// [`rotate`](crate::reference::rotate) for every head of a row.
    pub fn rotate(pairing: Pairing, row: &mut [f32], head_size: usize, cos: &[f32], sin: &[f32]) =
        lanes::rows::rotate;

    /// `x += weight · y`, one fused multiply-add an element.
    pub fn add_scaled(x: &mut [f32], weight: f32, y: &[f32]) = lanes::rows::add_scaled;

    /// `x += y`.
    pub fn add(x: &mut [f32], y: &[f32]) = lanes::rows::add;
}
