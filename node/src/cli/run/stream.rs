//! The answer as it comes.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use assay_engine::Observer;
use assay_engine::text::{Decoder, Text};
use indicatif::ProgressBar;
use tokio::sync::oneshot;

use crate::cli::output::{Format, Output};
use crate::cli::progress;

/// Prints tokens as text on standard output, and before the first of them a bar over the prompt.
pub struct Stream<'a> {
    text: &'a Text,
    decoder: Decoder,
    bar: ProgressBar,
    stop: &'a AtomicBool,
    /// Hears of the first token.
    begin: Option<oneshot::Sender<()>>,
    screen: Screen,
    failed: Option<io::Error>,
}

impl<'a> Stream<'a> {
    /// Prints if `output` is for people; ends the execution when `stop` turns true, and tells `begin` when the first
    /// token was printed.
    pub fn new(text: &'a Text, output: Output, stop: &'a AtomicBool, begin: oneshot::Sender<()>) -> Self {
        Self {
            text,
            decoder: text.decoder(),
            bar: progress::tokens(output, "reading the prompt"),
            stop,
            begin: Some(begin),
            screen: Screen::of(output),
            failed: None,
        }
    }

    /// Prints what remains.
    ///
    /// # Errors
    /// When standard output was closed.
    pub fn finish(self) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        let last = self.failed.map_or_else(|| self.screen.print(&self.decoder.finish()), Err);
        last.context("printing the answer")
    }

    fn goes_on(&self) -> ControlFlow<()> {
        match self.failed.is_some() || self.stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Observer for Stream<'_> {
    fn positions(&mut self, done: usize, total: usize) -> ControlFlow<()> {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        self.goes_on()
    }

    fn token(&mut self, token: u32) -> ControlFlow<()> {
        self.bar.finish_and_clear();
        let text = self.decoder.push(self.text, token);
        self.failed = self.screen.print(&text).err();
        if let Some(begin) = self.begin.take() {
            // Nobody may wait for it any more.
            let _ = begin.send(());
        }
        self.goes_on()
    }
}

/// Where the answer is printed.
#[derive(Clone, Copy)]
enum Screen {
    /// Nowhere: it is printed as a whole, in JSON.
    None,
    /// A file or pipe, which gets every character.
    File,
    /// A terminal, which would obey control characters.
    Terminal,
}

impl Screen {
    fn of(output: Output) -> Self {
        match output.format() {
            Format::Json => Self::None,
            Format::Text if io::stdout().is_terminal() => Self::Terminal,
            Format::Text => Self::File,
        }
    }

    fn print(self, text: &str) -> io::Result<()> {
        let harmless = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
        let mut stdout = io::stdout().lock();
        match self {
            Self::None => return Ok(()),
            Self::File => write!(stdout, "{text}")?,
            Self::Terminal => write!(stdout, "{}", text.chars().filter(harmless).collect::<String>())?,
        }
        stdout.flush()
    }
}
