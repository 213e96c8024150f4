//! Prints how long the attention of one position takes, over as many positions as are told, as in decoding: keys and
//! values come from memory:
//! `cargo run --release -p assay-kernels --example attention -- [POSITIONS] [HEADS] [KV_HEADS] [HEAD_SIZE] [THREADS]`.

use std::error::Error;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use assay_kernels::cache::CacheShape;
use assay_kernels::{Cpu, Head, Matrix, PAGE_POSITIONS, Page, Pool, WeightType, stream};

const LAYERS: usize = 16;

/// Times that every layer is measured.
const ROUNDS: usize = 30;

/// Rows and columns of weights that are read in between, much more than the caches hold.
const WEIGHTS: (usize, usize) = (65_536, 2_048);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (positions, heads, kv_heads, head_size) = (number(600)?, number(32)?, number(8)?, number(64)?);
    let threads = NonZeroUsize::new(number(2)?).ok_or("threads")?;
    let sharing = heads / kv_heads;
    let pool = Pool::new(threads, Cpu::detect())?;
    let shape = CacheShape { layers: LAYERS, kv_heads, head_size };
    let pages = pages(&pool, shape, positions)?;
    let zeros = vec![0; WEIGHTS.0 * WeightType::Q8_0.row_bytes(WEIGHTS.1).ok_or("columns in blocks")?];
    let weights = Matrix::pack(&pool, WeightType::Q8_0, WEIGHTS.0, WEIGHTS.1, &zeros)?;
    let queries = numbers(heads * head_size);
    let spans = vec![0..positions; sharing];
    let scale = (head_size as f32).sqrt().recip();
    let mut out = vec![0.0; heads * head_size];
    let mut times = Vec::new();
    for layer in (0..LAYERS).cycle().take(LAYERS * ROUNDS) {
        // Out of the caches with what is asked about next.
        stream::read(&pool, &[&weights]);
        let began = Instant::now();
        pool.for_each_row(&mut out, sharing * head_size, positions * sharing * head_size, |head, out| {
            let queries = &queries[head * out.len()..][..out.len()];
            pool.cpu().attend(queries, Head::new(&pages, layer, head), &spans, scale, out);
        });
        times.push(began.elapsed());
        black_box(&mut out);
    }
    times.sort();
    let bytes = 2 * positions * kv_heads * head_size * size_of::<u16>();
    let median = times[times.len() / 2].as_secs_f64();
    println!(
        "{positions} positions, {heads} heads of {head_size} on {kv_heads}, threads: {threads}, {}: median {:.1} us, {:.1} GB/s",
        pool.cpu().name(),
        median * 1e6,
        bytes as f64 / median / 1e9
    );
    Ok(())
}

/// The keys and values of a sequence.
fn pages(pool: &Pool, shape: CacheShape, positions: usize) -> Result<Vec<Arc<Page>>, Box<dyn Error>> {
    let value = numbers(shape.head_size);
    let mut pages = Vec::new();
    for _ in 0..positions.div_ceil(PAGE_POSITIONS) {
        let mut page = Page::new(shape)?;
        for layer in 0..shape.layers {
            for mut head in page.layer_mut(layer) {
                (0..PAGE_POSITIONS).for_each(|at| pool.cpu().write_position(&mut head, at, &value, &value));
            }
        }
        pages.push(Arc::new(page));
    }
    Ok(pages)
}

/// Numbers between -1 and 1.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 7 % 100) as f32 / 50.0 - 1.0).collect()
}
