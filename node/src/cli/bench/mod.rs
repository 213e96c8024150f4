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

use assay_engine::{Engine, Settings, WeightSource};
use clap::Args;
use tokio::task::spawn_blocking;

use self::report::{Report, Whole};
use self::workload::{Lengths, Workload};
use super::context::Context;
use super::failure::Failure;
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
    /// Measure one sequence only: prompt and answer.
    #[arg(long, conflicts_with = "batch")]
    quick: bool,
    #[command(flatten)]
    machine: Machine,
}

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
        let sequence = workload.warm_up()?;
        if !self.quick {
            workload.verify(&sequence)?;
        }
        // Before there is more than one sequence needs.
        let peak_memory_bytes = memory::peak_bytes();
        let rounds = workload.rounds(&sequence, self.rounds.get(), !self.quick)?;
        let mut report = Report::new(&self.model, &rounds);
        report.model_bytes = file.size_bytes();
        report.threads = self.settings().threads.get();
        report.kernels = cpu.short_name();
        report.prefill_chunk = self.settings().prefill_chunk.get();
        if let Some(compared) = rounds.compared {
            let positions =
                usize::try_from(rounds.prompt_tokens + rounds.answer_tokens).unwrap_or(usize::MAX);
            report.set_whole(&Whole {
                load,
                file_read,
                first_token: rounds.first_token,
                peak_memory_bytes,
                cache_bytes: model.cache_bytes(positions).unwrap_or(usize::MAX),
                trace: workload.engine().trace_time(&model, TRACED_POSITIONS) / TRACED_POSITIONS,
                batch: self.batch.get(),
                batch_tps: workload.batch(self.batch.get())?,
                weight_bytes: model.position_bytes(),
                compared,
            });
        }
        spinner.finish_and_clear();
        Ok(report)
    }

    fn settings(&self) -> Settings {
        Settings {
            sequences_max: self.batch.max(Settings::SEQUENCES_MAX),
            // What was computed once would be answered from memory.
            prefix_bytes_max: 0,
            ..self.machine.settings()
        }
    }
}

fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let result = f();
    (result, began.elapsed())
}
