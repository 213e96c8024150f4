//! Each fused operation against the same computation in candle's stock differentiable operations.

use super::*;
use crate::batch::Target;
use crate::corpus::DocumentKind;
use crate::random::Random;
use candle_core::{D, Device, Tensor, Var};
use std::sync::Arc;

/// Largest difference that is accepted, relative to the largest value.
const TOLERANCE: f32 = 2e-5;

fn random(random: &mut Random, shape: &[usize]) -> Var {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal()).collect();
    Var::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn assert_close(what: &str, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (found, expected) = (values(found), values(expected));
    let scale = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(worst <= TOLERANCE * scale, "{what} differs by {worst} of {scale}");
}

/// Compares results, and gradients under a random direction.
fn assert_same(inputs: &[&Var], fused: &Tensor, stock: &Tensor) {
    assert_close("the result", fused, stock);
    let direction = random(&mut Random::new(9, 9), fused.dims());
    let gradients =
        |result: &Tensor| (result * direction.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
    let (fused, stock) = (gradients(fused), gradients(stock));
    for (i, input) in inputs.iter().enumerate() {
        assert_close(&format!("gradient {i}"), fused.get(input).unwrap(), stock.get(input).unwrap());
    }
}

#[test]
fn rms_norm_equals_stock_operations() {
    let mut r = Random::new(1, 1);
    let (x, w) = (random(&mut r, &[5, 48]), random(&mut r, &[48]));
    let fused = x.apply_op2(w.as_tensor(), RmsNorm { eps: 1e-5 }).unwrap();
    let mean_square = x.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
    let root = (mean_square + 1e-5).unwrap().sqrt().unwrap();
    let stock = x.broadcast_div(&root).unwrap().broadcast_mul(&w).unwrap();
    assert_same(&[&x, &w], &fused, &stock);
}

#[test]
fn swiglu_equals_stock_operations() {
    let x = random(&mut Random::new(2, 1), &[5, 48]);
    let fused = x.apply_op1(SwiGlu).unwrap();
    let (gate, up) = (x.narrow(1, 0, 24).unwrap(), x.narrow(1, 24, 24).unwrap());
    let stock = (gate.silu().unwrap() * up).unwrap();
    assert_same(&[&x], &fused, &stock);
}

#[test]
fn cross_entropy_equals_stock_operations() {
    let logits = random(&mut Random::new(3, 1), &[4, 37]);
    let target = |(row, id, weight)| Target { row, id, weight, kind: DocumentKind::Sums };
    let targets = [(0, 5, 0.1), (1, 36, 0.2), (2, 0, 0.3), (3, 17, 0.4)].map(target);
    let fused = logits.apply_op1(CrossEntropy { targets: Arc::new(targets.to_vec()) }).unwrap();
    let log_sum = logits.exp().unwrap().sum_keepdim(1).unwrap().log().unwrap();
    let ids = Tensor::new(&[[5u32], [36], [0], [17]], &Device::Cpu).unwrap();
    let losses = (log_sum - logits.gather(&ids, 1).unwrap()).unwrap();
    let weights = Tensor::new(&[[0.1f32], [0.2], [0.3], [0.4]], &Device::Cpu).unwrap();
    let stock = (&losses * weights).unwrap().sum_all().unwrap();
    assert_same(&[&logits], &fused, &stock);
    let rows = Tensor::new(row_losses(&logits, &targets).unwrap(), &Device::Cpu).unwrap();
    assert_close("the rows", &rows, &losses.flatten_all().unwrap());
}

const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD: usize = 8;

#[test]
fn attention_equals_stock_operations_in_each_document() {
    let documents = [0..5, 5..6, 6..17];
    let x = random(&mut Random::new(4, 1), &[17, (HEADS + 2 * KV_HEADS) * HEAD]);
    let rope = RopeTable::new(11, HEAD, 100.0);
    let attention = Attention {
        heads: HEADS,
        kv_heads: KV_HEADS,
        documents: Arc::new(documents.to_vec()),
        rope: Arc::new(rope),
    };
    let fused = x.apply_op1(attention).unwrap();
    let stock: Vec<Tensor> = documents
        .iter()
        .map(|document| stock_attention(&x.narrow(0, document.start, document.len()).unwrap()))
        .collect();
    assert_same(&[&x], &fused, &Tensor::cat(&stock, 0).unwrap());
}

/// Attention of one document, head by head.
fn stock_attention(x: &Tensor) -> Tensor {
    let len = x.dim(0).unwrap();
    let slot = |i: usize| x.narrow(1, i * HEAD, HEAD).unwrap();
    let mask: Vec<f32> =
        (0..len * len).map(|i| if i % len > i / len { f32::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (len, len), &Device::Cpu).unwrap();
    let head = |h: usize| {
        let kv = h * KV_HEADS / HEADS;
        let (query, key) = (stock_rope(&slot(h)), stock_rope(&slot(HEADS + kv)));
        let scores = (query.matmul(&key.t().unwrap()).unwrap() / (HEAD as f64).sqrt()).unwrap();
        let weights = (scores + &mask).unwrap().exp().unwrap();
        let weights = weights.broadcast_div(&weights.sum_keepdim(1).unwrap()).unwrap();
        weights.matmul(&slot(HEADS + KV_HEADS + kv)).unwrap()
    };
    Tensor::cat(&(0..HEADS).map(head).collect::<Vec<_>>(), 1).unwrap()
}

/// Rotary positions by complex multiplication of the two halves.
fn stock_rope(x: &Tensor) -> Tensor {
    let (len, half) = (x.dim(0).unwrap(), HEAD / 2);
    let angles: Vec<f32> = (0..len * half)
        .map(|i| ((i / half) as f64 * libm::pow(100.0, -2.0 * (i % half) as f64 / HEAD as f64)) as f32)
        .collect();
    let angles = Tensor::from_vec(angles, (len, half), &Device::Cpu).unwrap();
    let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
    let (low, high) = (x.narrow(1, 0, half).unwrap(), x.narrow(1, half, half).unwrap());
    let real = ((&low * &cos).unwrap() - (&high * &sin).unwrap()).unwrap();
    let imaginary = ((&high * &cos).unwrap() + (&low * &sin).unwrap()).unwrap();
    Tensor::cat(&[real, imaginary], 1).unwrap()
}
