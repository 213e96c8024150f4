//! Engines without ledgers, as processes on this machine.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bare::{Bare, Decided};
use crate::process::{Process, free_ports};
use crate::spread::Spread;
use crate::{BARE, Result};

/// Blocks that are not counted: until all have found one another.
const FIRST_BLOCKS: u32 = 5;

/// What they decided.
pub struct Measured {
    /// Blocks a second.
    pub rate: f64,
    /// From the question for a block to its decision, at the first of them.
    pub decisions: Spread,
    /// Blocks that needed another round.
    pub again: usize,
    /// Processors that all of them kept busy.
    pub processors: f64,
}

/// Has so many engines decide so many blocks of a size.
pub fn measure(dir: &Path, engines: u32, block_bytes: usize, blocks: u32) -> Result<Measured> {
    let ports = free_ports(engines as usize)?;
    let start = |number| Engine::start(dir, &Bare { ports: ports.clone(), number, block_bytes });
    let mut engines: Vec<Engine> = (0..ports.len()).map(start).collect::<Result<_>>()?;
    for _ in 0..FIRST_BLOCKS {
        for engine in &mut engines {
            engine.decided()?;
        }
    }
    let busy = busy(&engines)?;
    let start = Instant::now();
    let mut decided = Vec::new();
    for _ in 0..blocks {
        decided.push(engines[0].decided()?);
        // The others' lines must not fill their pipes; what they say is the same.
        for engine in &mut engines[1..] {
            engine.decided()?;
        }
    }
    let passed = start.elapsed().as_secs_f64();
    Ok(Measured {
        rate: f64::from(blocks) / passed,
        again: decided.iter().filter(|block| block.round > 0).count(),
        decisions: decided.iter().map(|block| Duration::from_millis(block.took_ms)).collect(),
        processors: (self::busy(&engines)? - busy).as_secs_f64() / passed,
    })
}

fn busy(engines: &[Engine]) -> Result<Duration> {
    engines.iter().map(|engine| engine.process.busy()).sum()
}

struct Engine {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Engine {
    fn start(dir: &Path, bare: &Bare) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(BARE).arg(serde_json::to_string(bare)?).arg(dir);
        // It ends when this program lets go of its input.
        let mut child: Child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or("no output")?;
        Ok(Self { process: Process(child), lines: BufReader::new(out).lines() })
    }

    /// Waits for the next block.
    fn decided(&mut self) -> Result<Decided> {
        Ok(serde_json::from_str(&self.lines.next().ok_or("an engine ended")??)?)
    }
}
