//! Attention over pages.

use std::ops::Range;
use std::sync::Arc;

use assay_kernels::float::f32_to_f16;
use assay_kernels::reference;
use assay_kernels::{CacheShape, Cpu, Head, PAGE_POSITIONS, Page, QUERIES_MAX};

use crate::assert_same;
use crate::random::Random;

/// Keys and values of every position, as they were written.
struct Positions {
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

impl Positions {
    fn new(random: &mut Random, count: usize, head_size: usize) -> Self {
        let mut rows = || (0..count).map(|_| random.floats(head_size)).collect();
        Self { keys: rows(), values: rows() }
    }

    /// Pages in which the second head of the second layer holds them.
    fn pages(&self, cpu: Cpu) -> Vec<Arc<Page>> {
        let shape = CacheShape { layers: 2, kv_heads: 2, head_size: self.keys[0].len() };
        let rows = self.keys.chunks(PAGE_POSITIONS).zip(self.values.chunks(PAGE_POSITIONS));
        let page = |(keys, values): (&[Vec<f32>], &[Vec<f32>])| {
            let mut page = Page::new(shape).unwrap();
            let mut head = page.layer_mut(1).nth(1).unwrap();
            for (position, (key, value)) in keys.iter().zip(values).enumerate() {
                cpu.write_position(&mut head, position, key, value);
            }
            Arc::new(page)
        };
        rows.map(page).collect()
    }

    fn expected(&self, query: &[f32], span: &Range<usize>, scale: f32) -> Vec<f32> {
        let halves = |rows: &[Vec<f32>]| -> Vec<Vec<u16>> {
            rows[span.clone()].iter().map(|row| row.iter().map(|x| f32_to_f16(*x)).collect()).collect()
        };
        let (keys, values) = (halves(&self.keys), halves(&self.values));
        let keys: Vec<&[u16]> = keys.iter().map(Vec::as_slice).collect();
        let values: Vec<&[u16]> = values.iter().map(Vec::as_slice).collect();
        let mut out = vec![0.0; query.len()];
        reference::attention(query, span.start, &keys, &values, scale, &mut out);
        out
    }
}

#[track_caller]
fn check(positions: &Positions, queries: &[f32], spans: &[Range<usize>], what: &str) {
    let head_size = positions.keys[0].len();
    let scale = 1.0 / (head_size as f32).sqrt();
    let expected: Vec<f32> = queries
        .chunks_exact(head_size)
        .zip(spans)
        .flat_map(|(query, span)| positions.expected(query, span, scale))
        .collect();
    for cpu in Cpu::available() {
        let pages = positions.pages(cpu);
        let mut out = vec![f32::NAN; queries.len()];
        cpu.attend(queries, Head::new(&pages, 1, 1), spans, scale, &mut out);
        assert_same(&out, &expected, &format!("{what}, {}", cpu.name()));
    }
}

/// Queries small enough that some weights differ from 0 and 1.
fn queries(random: &mut Random, count: usize, head_size: usize) -> Vec<f32> {
    random.floats(count * head_size).iter().map(|q| q.clamp(-2.0, 2.0)).collect()
}

/// Numbers whose products stay moderate.
fn moderate(mut positions: Positions) -> Positions {
    let rows = positions.keys.iter_mut().chain(&mut positions.values);
    rows.flatten().for_each(|x| *x = x.clamp(-8.0, 8.0));
    positions
}

#[test]
fn attention_equals_the_reference() {
    for head_size in [2, 16, 24, 64, 80, 128] {
        for end in [1, 2, 15, 16, 17, 64, 65, 255, 256, 257, 530] {
            let mut random = Random((head_size * 1_000 + end) as u64);
            // A position more than is looked at: it must not matter.
            let positions = moderate(Positions::new(&mut random, end + 1, head_size));
            for count in 1..=QUERIES_MAX {
                let queries = queries(&mut random, count, head_size);
                check(
                    &positions,
                    &queries,
                    &vec![0..end; count],
                    &format!("{count} over {end} of {head_size}"),
                );
            }
        }
    }
}

#[test]
fn every_query_sees_its_own_span() {
    let mut random = Random(8);
    let positions = moderate(Positions::new(&mut random, 600, 32));
    let queries = queries(&mut random, 4, 32);
    for spans in [
        [0..1, 0..2, 0..3, 0..4],
        [0..15, 0..16, 0..17, 0..18],
        [254..258, 255..259, 256..260, 257..261],
        [3..600, 17..300, 250..257, 599..600],
        [0..64, 64..128, 128..192, 192..256],
    ] {
        check(&positions, &queries, &spans, &format!("{spans:?}"));
    }
}

#[test]
fn what_a_query_does_not_see_may_hold_anything() {
    let mut random = Random(9);
    for hidden in [f32::INFINITY, f32::NAN, 1e30] {
        let mut positions = moderate(Positions::new(&mut random, 40, 16));
        for at in [0, 3, 20, 39] {
            positions.keys[at].fill(hidden);
            positions.values[at].fill(hidden);
        }
        let queries = queries(&mut random, 3, 16);
        check(&positions, &queries, &[4..20, 21..39, 1..3], &format!("{hidden}"));
    }
}

#[test]
fn numbers_beyond_binary16_become_infinite_and_are_seen() {
    let mut random = Random(10);
    let mut positions = moderate(Positions::new(&mut random, 20, 16));
    positions.values[7][3] = 70_000.0;
    let queries = queries(&mut random, 1, 16);
    check(&positions, &queries, std::slice::from_ref(&(0..20)), "a value of 70,000");
    assert!(!positions.expected(&queries, &(0..20), 0.25)[3].is_finite());
}

#[test]
fn keys_and_values_of_any_size_equal_the_reference() {
    // Subnormals, zeros of both signs, and what overflows binary16, as they come.
    let mut random = Random(11);
    for head_size in [5, 16, 48] {
        let positions = Positions::new(&mut random, 100, head_size);
        let queries = queries(&mut random, 4, head_size);
        check(&positions, &queries, &[0..100, 0..99, 10..98, 20..97], &format!("{head_size}"));
    }
}
