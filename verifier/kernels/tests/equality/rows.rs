//! Kernels over single rows.

use assay_kernels::Cpu;
use assay_kernels::reference::{self, Pairing};

use crate::assert_same;
use crate::random::Random;

#[test]
fn kernels_over_rows_equal_the_reference() {
    for len in [1, 2, 15, 16, 17, 31, 32, 33, 100, 256] {
        let mut random = Random(len as u64);
        let (x, y) = (random.floats(len), random.floats(len));
        let mut norm = vec![0.0; len];
        reference::rms_norm(&x, &y, 1e-5, &mut norm);
        let pairs = || x.iter().zip(&y);
        let swiglu: Vec<f32> = pairs().map(|(gate, up)| reference::swiglu(*gate, *up)).collect();
        let geglu: Vec<f32> = pairs().map(|(gate, up)| reference::geglu(*gate, *up)).collect();
        let scaled: Vec<f32> = pairs().map(|(x, y)| 0.37f32.mul_add(*y, *x)).collect();
        let sum: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
        for cpu in Cpu::available() {
            let mut out = vec![0.0; len];
            cpu.rms_norm(&x, &y, 1e-5, &mut out);
            assert_same(&out, &norm, &format!("rms norm of {len}, {}", cpu.name()));
            cpu.swiglu(&x, &y, &mut out);
            assert_same(&out, &swiglu, &format!("swiglu of {len}, {}", cpu.name()));
            cpu.geglu(&x, &y, &mut out);
            assert_same(&out, &geglu, &format!("geglu of {len}, {}", cpu.name()));
            out.copy_from_slice(&x);
            cpu.add_scaled(&mut out, 0.37, &y);
            assert_same(&out, &scaled, &format!("scaled sum of {len}, {}", cpu.name()));
            out.copy_from_slice(&x);
            cpu.add(&mut out, &y);
            assert_same(&out, &sum, &format!("sum of {len}, {}", cpu.name()));
        }
    }
}

#[test]
fn normalisations_equal_the_reference() {
    for len in [1, 2, 15, 16, 17, 31, 33, 100, 384] {
        let mut random = Random(len as u64);
        let (weight, bias) = (random.floats(len), random.floats(len));
        let moderate: Vec<f32> = random.floats(len).iter().map(|x| x.clamp(-8.0, 8.0)).collect();
        for x in [moderate, random.floats(len), vec![0.0; len], vec![3.7; len], vec![f32::NAN; len]] {
            let (mut layer, mut length) = (vec![0.0; len], x.clone());
            reference::layer_norm(&x, &weight, &bias, 1e-12, &mut layer);
            reference::l2_norm(&mut length);
            for cpu in Cpu::available() {
                let (mut out, mut normed) = (vec![0.0; len], x.clone());
                cpu.layer_norm(&x, &weight, &bias, 1e-12, &mut out);
                assert_same(&out, &layer, &format!("layer norm of {len}, {}", cpu.name()));
                cpu.l2_norm(&mut normed);
                assert_same(&normed, &length, &format!("l2 norm of {len}, {}", cpu.name()));
            }
        }
    }
}

#[test]
fn gelu_equals_the_reference_over_its_whole_range() {
    let values: Vec<f32> = (0..=u32::MAX).step_by(4_099).map(f32::from_bits).collect();
    let expected: Vec<f32> = values.iter().map(|x| reference::gelu(*x)).collect();
    for cpu in Cpu::available() {
        let mut out = values.clone();
        cpu.gelu(&mut out);
        assert_same(&out, &expected, cpu.name());
    }
}

#[test]
fn means_of_rows_equal_the_reference() {
    for (rows, width) in [(1, 1), (2, 5), (3, 16), (17, 33), (255, 40), (256, 40), (257, 40), (700, 8)] {
        let values = Random((rows * width) as u64).floats(rows * width);
        let mut expected = vec![0.0; width];
        reference::mean_rows(&values.chunks_exact(width).collect::<Vec<_>>(), &mut expected);
        for cpu in Cpu::available() {
            let mut out = vec![f32::NAN; width];
            cpu.mean_rows(&values, &mut out);
            assert_same(&out, &expected, &format!("{rows} rows of {width}, {}", cpu.name()));
        }
    }
}

#[test]
fn the_exponential_equals_the_reference_over_its_whole_range() {
    // SwiGLU with an `up` of one shows the exponential; every 4,099th bit pattern, NaNs included.
    let gates: Vec<f32> = (0..=u32::MAX).step_by(4_099).map(f32::from_bits).collect();
    let ones = vec![1.0; gates.len()];
    let expected: Vec<f32> = gates.iter().map(|gate| reference::silu(*gate)).collect();
    for cpu in Cpu::available() {
        let mut out = vec![0.0; gates.len()];
        cpu.swiglu(&gates, &ones, &mut out);
        assert_same(&out, &expected, cpu.name());
    }
}

#[test]
fn rotation_equals_the_reference() {
    for (head_size, rotated) in [(2, 2), (6, 6), (16, 16), (64, 64), (80, 80), (96, 64)] {
        let mut random = Random(head_size as u64);
        let row = random.floats(3 * head_size);
        let (cos, sin) = (random.floats(rotated / 2), random.floats(rotated / 2));
        for pairing in [Pairing::Interleaved, Pairing::Halves] {
            let mut expected = row.clone();
            expected
                .chunks_exact_mut(head_size)
                .for_each(|head| reference::rotate(pairing, head, &cos, &sin));
            for cpu in Cpu::available() {
                let mut out = row.clone();
                cpu.rotate(pairing, &mut out, head_size, &cos, &sin);
                assert_same(&out, &expected, &format!("{pairing:?} of {head_size}, {}", cpu.name()));
            }
        }
    }
}
