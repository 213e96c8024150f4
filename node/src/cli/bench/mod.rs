//! `assay bench`: how fast this machine runs a model, and against what it could.
//!
//! `docs/PERFORMANCE.md` says what each number means.

mod memory;
mod report;
mod stopwatch;
#[cfg(test)]
mod tests;
mod text;
mod workload;

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assay_engine::{Engine, Model, Settings, WeightSource};
use assay_kernels::{Pool, stream};
use clap::Args;
use tokio::task::spawn_blocking;

use self::report::{Report, Whole};
use self::workload::{Lengths, Workload};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::gguf_file::GgufFile;
use super::machine::Machine;
use super::output::Output;
use super::progress;

/// Arguments of `assay bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// The model, a GGUF file.
    #[arg(long, value_name = "FILE.gguf")]
    model: PathBuf,
    /// Tokens of the prompt.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(2..))]
    prompt: u32,
    /// Tokens of the answer.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..))]
    generate: u32,
    /// Times that one sequence is measured; medians are told.
    #[arg(long, value_name = "N", default_value_t = NonZeroU32::new(3).unwrap())]
    rounds: NonZeroU32,
    /// Sequences at once, where several are measured.
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::new(8).unwrap())]
    batch: NonZeroUsize,
    /// Size of the buffer whose reading tells the speed of memory; much larger than the caches, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = NonZeroUsize::new(1024).unwrap())]
    stream_mib: NonZeroUsize,
    /// Measure one sequence only: prompt and answer.
    #[arg(long, conflicts_with_all = ["batch", "stream_mib"])]
    quick: bool,
    #[command(flatten)]
    machine: Machine,
}

/// Reads of the buffer, of which the best counts.
const STREAM_PASSES: usize = 5;

/// Positions whose tracing is timed at once, often enough that the clock does not matter.
const TRACED_POSITIONS: u32 = 64;

impl Bench {
    /// Measures and prints.
    ///
    /// # Errors
    /// [`Failure`] when the file is no model of the exact class, or it has no room for the tokens.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = context.output();
        let report = spawn_blocking(move || self.measure(output)).await??;
        Ok(output.result(&report, Report::text)?)
    }

    fn measure(&self, output: Output) -> Result<Report, Failure> {
        let cpu = self.machine.cpu()?;
        let file = GgufFile::open(&self.model)?;
        // What the disk costs is not measured: the first reading brings the file into the page cache.
        file.read_through()?;
        let (read, file_read) = timed(|| file.read_through());
        read?;
        let (model, load) = timed(|| file.load(output));
        let model = model?;
        let engine = Engine::with_cpu(self.settings(), cpu)?;
        let spinner = progress::spinner(output, "measuring");
        let chunk = u32::try_from(self.settings().prefill_chunk.get()).unwrap_or(u32::MAX);
        let lengths = Lengths { prompt: self.prompt, generate: self.generate, chunk };
        let mut workload = Workload::new(engine, Arc::clone(&model), lengths)?;
        let rounds = workload.rounds(self.rounds.get(), self.quick)?;
        let mut report = Report::new(&self.model, &rounds);
        report.model_bytes = file.size_bytes();
        report.threads = self.settings().threads.get();
        report.kernels = cpu.short_name();
        report.prefill_chunk = self.settings().prefill_chunk.get();
        if !self.quick {
            let whole = Whole { load, file_read, ..self.rest(workload, model, &rounds)? };
            report.set_whole(&whole, &rounds);
        }
        spinner.finish_and_clear();
        Ok(report)
    }

    /// What is measured besides one sequence. The model is let go before the speed of memory is measured, so that
    /// both need not fit.
    fn rest(
        &self,
        mut workload: Workload,
        model: Arc<Model>,
        rounds: &workload::Rounds,
    ) -> Result<Whole, Failure> {
        // Before several sequences have their own keys and values.
        let peak_memory_bytes = memory::peak_bytes();
        let positions = usize::try_from(rounds.prompt_tokens + rounds.answer_tokens).unwrap_or(usize::MAX);
        let cache_bytes = model.cache_bytes(positions).unwrap_or(usize::MAX);
        let trace = workload.engine().trace_time(&model, TRACED_POSITIONS) / TRACED_POSITIONS;
        let batch_tps = workload.batch(self.batch.get())?;
        let weight_bytes = model.position_bytes();
        drop((workload, model));
        Ok(Whole {
            peak_memory_bytes,
            cache_bytes,
            trace,
            batch: self.batch.get(),
            batch_tps,
            weight_bytes,
            stream_gbps: self.stream_gbps()?,
            load: Duration::ZERO,
            file_read: Duration::ZERO,
        })
    }

    fn settings(&self) -> Settings {
        Settings {
            sequences_max: self.batch.max(Settings::SEQUENCES_MAX),
            // What was computed once would be answered from memory.
            prefix_bytes_max: 0,
            ..self.machine.settings()
        }
    }

    /// Bytes a nanosecond that all threads read together.
    fn stream_gbps(&self) -> Result<f64, Failure> {
        let too_many = |cause: &dyn std::fmt::Display| {
            Failure::new(Exit::Internal, format!("measuring the speed of memory: {cause}"))
                .hint("choose a smaller buffer with --stream-mib")
        };
        let pool =
            Pool::new(self.settings().threads, self.machine.cpu()?).map_err(|error| too_many(&error))?;
        let size_bytes = self.stream_mib.get().saturating_mul(1 << 20);
        let time = stream::read_time(&pool, size_bytes, STREAM_PASSES).map_err(|error| too_many(&error))?;
        Ok(size_bytes as f64 / time.as_secs_f64() / 1e9)
    }
}

fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let result = f();
    (result, began.elapsed())
}
