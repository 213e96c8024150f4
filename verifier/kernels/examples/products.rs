//! Prints how fast threads multiply, one by default, with each instruction set and weight type:
//! `cargo run --release -p assay-kernels --example products -- [ROWS] [COLS] [KERNELS] [THREADS]`.
//!
//! `batch`: billions of multiply-adds a second with 64 rows of activations, as in a prefill. `single`: billions of
//! bytes of packed weights a second with one row, as in decoding; a matrix larger than the caches shows what
//! memory allows. `loop`: what a loop reads of the same memory that does nothing else, measured right after.

use std::error::Error;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Instant;

use assay_kernels::{Activations, Cpu, Matrix, Pool, Product, WeightType, matmul, stream};

const BATCH: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (rows, cols) = (number(16_384)?, number(2_048)?);
    let cpus = match arguments.next() {
        Some(name) => vec![Cpu::named(&name).ok_or("an instruction set that this CPU has")?],
        None => Cpu::available(),
    };
    let threads = arguments.next().map_or(Ok(NonZeroUsize::MIN), |text| text.parse())?;
    println!("{rows} x {cols}, threads: {threads}");
    for cpu in cpus {
        let pool = Pool::new(threads, cpu)?;
        for weight_type in WeightType::ALL {
            let bytes = bytes(weight_type, rows, cols).ok_or("columns that fill blocks of 256")?;
            let mut packed = f64::INFINITY;
            for _ in 0..5 {
                let start = Instant::now();
                black_box(Matrix::pack(&pool, weight_type, rows, cols, &bytes)?);
                packed = packed.min(start.elapsed().as_secs_f64());
            }
            let matrix = Matrix::pack(&pool, weight_type, rows, cols, &bytes)?;
            let batch = BATCH as f64 * (rows * cols) as f64 / seconds(&pool, &matrix, BATCH);
            let single = bytes.len() as f64 / seconds(&pool, &matrix, 1);
            let reads = (0..7).map(|_| stream::read(&pool, &[&matrix]));
            let read = reads.map(|(bytes, time)| bytes as f64 / time.as_secs_f64()).fold(0.0, f64::max);
            println!(
                "{:10} {:5} batch {:6.1} G/s  single {:5.1} GB/s  loop {:5.1} GB/s  packing {:5.2} GB/s",
                cpu.name(),
                weight_type.name(),
                batch / 1e9,
                single / 1e9,
                read / 1e9,
                bytes.len() as f64 / packed / 1e9
            );
        }
    }
    Ok(())
}

/// A matrix in a file: small numbers, and in blocks any integers with scales of 2⁻⁸.
fn bytes(weight_type: WeightType, rows: usize, cols: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; weight_type.row_bytes(cols)? * rows];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = if weight_type.integers().is_some() { (index * 167 + (index >> 8) * 13) as u8 } else { 0x11 };
    }
    for block in bytes.chunks_exact_mut(weight_type.block().1) {
        for at in weight_type.halves_at() {
            block[*at..at + 2].copy_from_slice(&0x1c00u16.to_le_bytes());
        }
    }
    Some(bytes)
}

/// Seconds that the fastest of several products takes.
fn seconds(pool: &Pool, matrix: &Matrix, inputs: usize) -> f64 {
    let mut x = Activations::new(inputs, matrix.cols());
    x.fill(pool, inputs, &[matrix], |row, out| {
        out.iter_mut().enumerate().for_each(|(i, x)| *x = ((row * 31 + i * 7) % 100) as f32 / 50.0 - 1.0);
    });
    let mut out = vec![0.0; inputs * matrix.rows()];
    let once = |out: &mut [f32]| {
        let start = Instant::now();
        matmul(pool, &x, &mut [Product { matrix, out }]);
        black_box(out);
        start.elapsed().as_secs_f64()
    };
    (0..7).map(|_| once(&mut out)).fold(f64::INFINITY, f64::min)
}
