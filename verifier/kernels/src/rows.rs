//! Kernels over single rows of activations; all panic when lengths do not fit one another.

use crate::cpu::dispatched;
use crate::lanes;

dispatched! {
    /// See [`rms_norm`](crate::reference::rms_norm).
    pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) = lanes::rows::rms_norm;

    /// [`swiglu`](crate::reference::swiglu) of every element.
    pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) = lanes::rows::swiglu;

    /// [`rotate`](crate::reference::rotate) for every head of a row, each of `2 · cos.len()` elements.
    pub fn rotate(row: &mut [f32], cos: &[f32], sin: &[f32]) = lanes::rows::rotate;

    /// `x += y`.
    pub fn add(x: &mut [f32], y: &[f32]) = lanes::rows::add;
}
