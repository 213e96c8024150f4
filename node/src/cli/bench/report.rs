//! What a benchmark finds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::workload::{Compared, Rounds};
use crate::cli::table::{count, fields};

/// Memory that is allowed beside weights, keys and values.
const OTHER_BYTES_MAX: f64 = 200e6;

/// What weights may take of memory, by the size of their file.
const WEIGHTS_SHARE_MAX: f64 = 1.1;

/// All numbers; tokens of a second, bytes a nanosecond (GB/s), shares of one.
#[derive(Debug, Serialize)]
pub struct Report {
    pub model: PathBuf,
    pub model_bytes: u64,
    pub threads: usize,
    pub kernels: &'static str,
    pub prefill_chunk: usize,
    pub prompt: u32,
    pub generate: u32,
    pub rounds: u32,
    pub prefill_tps: f64,
    pub decode_tps: f64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
}

/// What a quick benchmark leaves out.
#[derive(Debug, Serialize)]
pub struct Rest {
    pub first_token_ms: f64,
    pub weight_bytes_per_token: usize,
    pub stream_gbps: f64,
    pub decode_gbps: f64,
    pub stream_share: f64,
    pub verify_ratio: f64,
    pub trace_overhead: f64,
    pub batch: usize,
    pub batch_tps: f64,
    pub batch_speedup: f64,
    pub load_ms: f64,
    pub file_read_ms: f64,
    pub peak_memory_bytes: Option<u64>,
    pub memory_bound_bytes: u64,
}

/// What was measured besides one sequence.
pub struct Whole {
    pub load: Duration,
    pub file_read: Duration,
    pub first_token: Duration,
    pub peak_memory_bytes: Option<u64>,
    /// Of keys and values of one sequence.
    pub cache_bytes: usize,
    /// To trace a position.
    pub trace: Duration,
    pub batch: usize,
    pub batch_tps: f64,
    /// That a position reads.
    pub weight_bytes: usize,
    pub compared: Compared,
}

impl Report {
    /// Of one sequence.
    pub fn new(model: &Path, rounds: &Rounds) -> Self {
        Self {
            model: model.into(),
            model_bytes: 0,
            threads: 0,
            kernels: "",
            prefill_chunk: 0,
            prompt: rounds.prompt_tokens,
            generate: rounds.answer_tokens,
            rounds: rounds.count,
            prefill_tps: f64::from(rounds.prompt_tokens) / rounds.first_token.as_secs_f64(),
            decode_tps: rounds.decode_tps,
            rest: None,
        }
    }

    /// Adds what was measured besides.
    pub fn set_whole(&mut self, whole: &Whole) {
        let Compared { stream_gbps, stream_share, verify_ratio } = whole.compared;
        let bound = self.model_bytes as f64 * WEIGHTS_SHARE_MAX + whole.cache_bytes as f64 + OTHER_BYTES_MAX;
        self.rest = Some(Rest {
            first_token_ms: milliseconds(whole.first_token),
            weight_bytes_per_token: whole.weight_bytes,
            stream_gbps,
            decode_gbps: whole.weight_bytes as f64 * self.decode_tps / 1e9,
            stream_share,
            verify_ratio,
            trace_overhead: whole.trace.as_secs_f64() * self.decode_tps,
            batch: whole.batch,
            batch_tps: whole.batch_tps,
            batch_speedup: whole.batch_tps / self.decode_tps,
            load_ms: milliseconds(whole.load),
            file_read_ms: milliseconds(whole.file_read),
            peak_memory_bytes: whole.peak_memory_bytes,
            memory_bound_bytes: bound as u64,
        });
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut rows = vec![
            ("model", format!("{}, {}", self.model.display(), megabytes(self.model_bytes))),
            (
                "machine",
                format!(
                    "{}, {} kernels, chunks of {}",
                    count(self.threads, "thread"),
                    self.kernels,
                    self.prefill_chunk
                ),
            ),
            (
                "tokens",
                format!(
                    "{} of the prompt, {} of the answer, {}",
                    self.prompt,
                    self.generate,
                    count(self.rounds as usize, "round")
                ),
            ),
            ("prefill", format!("{:10.1} tokens/s", self.prefill_tps)),
            ("decode", format!("{:10.1} tokens/s", self.decode_tps)),
        ];
        if let Some(rest) = &self.rest {
            rows.extend(rest.rows());
        }
        fields(&rows)
    }
}

impl Rest {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let peak = self.peak_memory_bytes.map_or_else(|| "unknown".to_owned(), megabytes);
        vec![
            (
                "batch",
                format!(
                    "{:10.1} tokens/s of {} sequences, {:.2} of one",
                    self.batch_tps, self.batch, self.batch_speedup
                ),
            ),
            ("verify", format!("{:10.2} of the time to generate", self.verify_ratio)),
            ("trace", format!("{:10.2} % of decoding", self.trace_overhead * 100.0)),
            (
                "weights",
                format!(
                    "{:10.1} GB/s read by decoding, in its last second {:.2} of memory",
                    self.decode_gbps, self.stream_share
                ),
            ),
            ("memory", format!("{:10.1} GB/s", self.stream_gbps)),
            ("first token", format!("{:10.1} ms", self.first_token_ms)),
            ("load", format!("{:10.1} ms, reading the file {:.1} ms", self.load_ms, self.file_read_ms)),
            ("peak", format!("{peak:>13}, bound {}", megabytes(self.memory_bound_bytes))),
        ]
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
