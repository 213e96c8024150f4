//! How this machine computes, for the commands that run models; none of it changes an exact result.

use std::num::NonZeroUsize;

use assay_engine::{Engine, Settings};
use assay_kernels::Cpu;
use clap::{Args, ValueEnum};

use super::failure::Failure;

/// How this machine computes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Machine (never changes an exact answer)")]
pub struct Machine {
    /// Instruction set of the kernels.
    #[arg(long, value_enum, value_name = "SET", default_value_t = Kernels::Auto)]
    kernels: Kernels,
    /// Threads; one a core if absent.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Positions that are computed at once where more than one is known.
    #[arg(long, value_name = "N", default_value_t = Settings::PREFILL_CHUNK)]
    prefill_chunk: NonZeroUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kernels {
    /// The best that this CPU has.
    Auto,
    /// Plain code, which runs everywhere.
    Scalar,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 with VNNI.
    Avx512,
    /// NEON with the dot products of Armv8.2.
    Neon,
}

impl Kernels {
    /// As [`Cpu::short_name`]; none for the best.
    const fn short_name(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Scalar => Some("scalar"),
            Self::Avx2 => Some("avx2"),
            Self::Avx512 => Some("avx512"),
            Self::Neon => Some("neon"),
        }
    }
}

impl Machine {
    /// The instruction set.
    ///
    /// # Errors
    /// When this CPU lacks the one that was named.
    pub fn cpu(&self) -> Result<Cpu, Failure> {
        let Some(name) = self.kernels.short_name() else { return Ok(Cpu::detect()) };
        Cpu::named(name).ok_or_else(|| {
            let has: Vec<_> = Cpu::available().into_iter().map(Cpu::short_name).collect();
            Failure::usage(format!("choosing kernels: this CPU has no {name}"))
                .hint(format!("choose --kernels auto, or one that it has: {}", has.join(", ")))
        })
    }

    /// The engine's settings.
    pub fn settings(&self) -> Settings {
        let settings = Settings::for_this_machine();
        Settings {
            threads: self.threads.unwrap_or(settings.threads),
            prefill_chunk: self.prefill_chunk,
            ..settings
        }
    }

    /// Settings of the tolerance class, whose library has kernels and threads of its own.
    ///
    /// # Errors
    /// When kernels or threads were named.
    pub fn tolerance(&self) -> Result<assay_tolerance::Settings, Failure> {
        if self.kernels != Kernels::Auto || self.threads.is_some() {
            let cause =
                "running a model of the tolerance class: --kernels and --threads are of the exact engine";
            return Err(Failure::usage(cause).hint(
                "leave them out; RAYON_NUM_THREADS=N and CANDLE_NUM_THREADS=N in the environment limit the threads",
            ));
        }
        let prefill_chunk = self.prefill_chunk;
        Ok(assay_tolerance::Settings { prefill_chunk, ..assay_tolerance::Settings::default() })
    }

    /// An engine.
    ///
    /// # Errors
    /// When this CPU lacks the instruction set, or the system gives no threads.
    pub fn engine(&self) -> Result<Engine, Failure> {
        Ok(Engine::with_cpu(self.settings(), self.cpu()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Exit;
    use crate::cli::testing::parse;

    fn machine(arguments: &[&str]) -> Machine {
        parse::<Machine>(&std::env::temp_dir(), arguments).1
    }

    #[test]
    fn what_is_not_said_is_chosen_for_the_machine() {
        let (settings, default) = (machine(&[]).settings(), Settings::for_this_machine());
        assert_eq!((settings.threads, settings.prefill_chunk), (default.threads, default.prefill_chunk));
        assert_eq!(machine(&[]).cpu().unwrap(), Cpu::detect());
        let settings = machine(&["--threads", "3", "--prefill-chunk", "5"]).settings();
        assert_eq!((settings.threads.get(), settings.prefill_chunk.get()), (3, 5));
    }

    #[test]
    fn an_instruction_set_is_had_or_refused_with_those_that_are() {
        for name in ["scalar", "avx2", "avx512", "neon"] {
            match (Cpu::named(name), machine(&["--kernels", name]).cpu()) {
                (Some(set), found) => assert_eq!(found.unwrap(), set),
                (None, found) => {
                    let failure = found.unwrap_err();
                    assert_eq!(failure.exit(), Exit::Usage);
                    assert!(failure.next_step().unwrap().contains("scalar"));
                }
            }
        }
        assert_eq!(machine(&["--kernels", "scalar"]).cpu().unwrap(), Cpu::portable());
    }
}
