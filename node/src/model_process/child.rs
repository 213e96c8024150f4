//! The process's own side: it confines itself, reads one model, and answers calls until the node is gone.
//!
//! Standard input is the socket to the node and standard output the open model file, so that nothing but those and
//! the log is passed on, and what a library prints by mistake goes nowhere.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use assay_engine::{Engine, LoadOptions, Model, Observer, WeightSource};
use assay_manifest::Manifest;
use tracing::{error, warn};
use tracing_subscriber::filter::LevelFilter;

use super::hosted::Hosted;
use super::message::{Call, Loaded, Order, Reply, Report, Start, VERSION};
use super::sandbox::{self, Descriptors, Layers, SandboxError, memory_bytes_max};
use super::wire::{WireError, receive, send};
use crate::weight_file::WeightFile;

/// Calls that are computed or wait at once; the node sends no more.
pub const CALLS_MAX: usize = 64;

/// From one sign of life to the next while the model is read.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// A model process could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It was not started by a node.
    #[error("running a model for a node: {0}")]
    Descriptors(io::Error),
    /// It could not confine itself.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The node spoke in another way than it should.
    #[error("running a model for a node: {0}")]
    Wire(#[from] WireError),
}

/// Runs a model for the node that started this process, until that is gone.
///
/// # Errors
/// [`ChildError`].
pub fn run() -> Result<(), ChildError> {
    log_to_stderr();
    if let Err(error) = sandbox::give_up_early() {
        warn!(%error, "the system may end the node before this process when memory is short");
    }
    sandbox::prepare()?;
    let socket = inherited(io::stdin().as_fd())?;
    let model = inherited(io::stdout().as_fd())?;
    let start = match receive(&mut &socket)? {
        Order::Start(start) if start.version == VERSION => start,
        Order::Start(Start { version, .. }) => {
            return Err(WireError::Version { ours: VERSION, theirs: version }.into());
        }
        Order::Call { .. } | Order::Cancel { .. } => {
            return Err(WireError::OutOfPlace("a call before the start").into());
        }
    };
    let descriptors = Descriptors {
        read: vec![socket.as_raw_fd()],
        read_at: vec![model.as_raw_fd()],
        write: vec![socket.as_raw_fd(), io::stderr().as_raw_fd()],
    };
    let file = WeightFile::new(model).map_err(ChildError::Descriptors)?;
    let memory = memory_bytes_max(file.size_bytes(), &start.settings());
    let confinement = sandbox::apply(Layers::All, memory, &descriptors)?;
    let node = Node::new(socket);
    node.tell(&Report::Hello { version: VERSION, confinement })?;
    match load(&node, &file, &start) {
        Ok((hosted, loaded)) => {
            node.tell(&Report::Ready(loaded))?;
            node.serve(&hosted)
        }
        Err(cause) => Ok(node.tell(&Report::Unusable(cause))?),
    }
}

/// A panic's message may hold a part of a prompt; its place says where to look.
fn log_to_stderr() {
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(io::stderr);
    // Another subscriber is there only where a test set one.
    let _ = log.without_time().with_ansi(false).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "a thread panicked");
    }));
}

fn inherited(descriptor: std::os::fd::BorrowedFd<'_>) -> Result<File, ChildError> {
    descriptor.try_clone_to_owned().map(File::from).map_err(ChildError::Descriptors)
}

/// Computes the ids of what lies in the file anew, and packs its weights.
fn load(node: &Node, file: &WeightFile, start: &Start) -> Result<(Hosted, Loaded), String> {
    let manifest = Manifest::from_bytes(&start.manifest).map_err(|error| error.to_string())?;
    let file = Watched { file, node, last: Mutex::new(Instant::now()) };
    let model_id = file.file.recomputed(&manifest, &mut || file.sign_of_life())?.model_id();
    let model_id = model_id.ok_or("the manifest is not one of a model")?;
    let model = Model::load(&file, &LoadOptions::default(), &mut |_, _| ());
    let model = model.map_err(|error| error.to_string())?;
    let engine = Engine::new(start.settings()).map_err(|error| error.to_string())?;
    let loaded = Loaded { model_id, spec_id: model.spec_id() };
    Ok((Hosted::new(Arc::new(engine), model), loaded))
}

/// A file that tells the node that it is being read.
struct Watched<'a> {
    file: &'a WeightFile,
    node: &'a Node,
    last: Mutex<Instant>,
}

impl Watched<'_> {
    fn sign_of_life(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= SIGN_OF_LIFE {
            *last = Instant::now();
            // A node that is gone shows when the model has been read.
            let _ = self.node.tell(&Report::Loading);
        }
    }
}

impl WeightSource for Watched<'_> {
    fn size_bytes(&self) -> u64 {
        self.file.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.sign_of_life();
        self.file.read_at(offset, buffer)
    }
}

/// The node, as its process sees it.
struct Node {
    socket: File,
    /// Taken for a whole frame.
    writing: Mutex<()>,
    /// The calls at hand, and whether nobody waits for them any more.
    calls: Mutex<HashMap<u64, Arc<AtomicBool>>>,
}

impl Node {
    fn new(socket: File) -> Arc<Self> {
        Arc::new(Self { socket, writing: Mutex::default(), calls: Mutex::default() })
    }

    fn tell(&self, report: &Report) -> Result<(), WireError> {
        let _whole = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        send(&mut &self.socket, report)
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<AtomicBool>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes orders until the node is gone; calls that are at hand then end with the process.
    fn serve(self: &Arc<Self>, hosted: &Hosted) -> Result<(), ChildError> {
        loop {
            match receive(&mut &self.socket) {
                Ok(Order::Call { id, call }) => self.begin(id, call, hosted)?,
                Ok(Order::Cancel { id }) => {
                    // One that has just ended is not there any more.
                    if let Some(cancelled) = self.calls().get(&id) {
                        cancelled.store(true, Ordering::Relaxed);
                    }
                }
                Ok(Order::Start(_)) => return Err(WireError::OutOfPlace("a second start").into()),
                Err(WireError::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Answers a call on a thread of its own: the engine runs them together.
    fn begin(self: &Arc<Self>, id: u64, call: Call, hosted: &Hosted) -> Result<(), WireError> {
        let cancelled = Arc::<AtomicBool>::default();
        {
            let mut calls = self.calls();
            if calls.len() >= CALLS_MAX {
                return Err(WireError::OutOfPlace("more calls at once than agreed"));
            }
            if calls.insert(id, Arc::clone(&cancelled)).is_some() {
                return Err(WireError::OutOfPlace("a call with the number of another"));
            }
        }
        let (node, hosted) = (Arc::clone(self), hosted.clone());
        let answer = move || {
            let result = answer(&hosted, &call, &cancelled);
            drop(call);
            node.end(id, result);
        };
        match std::thread::Builder::new().name(format!("call-{id}")).spawn(answer) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.calls().remove(&id);
                self.tell(&Report::Answer { id, result: Err(format!("starting a thread: {error}")) })
            }
        }
    }

    fn end(&self, id: u64, result: Result<Reply, String>) {
        // Before the answer, so that the node never has more calls than this process counts.
        self.calls().remove(&id);
        let told = match self.tell(&Report::Answer { id, result }) {
            Err(error @ WireError::TooLongToSend { .. }) => {
                self.tell(&Report::Answer { id, result: Err(error.to_string()) })
            }
            told => told,
        };
        if let Err(error) = told {
            warn!(%error, "an answer is lost");
        }
    }
}

fn answer(hosted: &Hosted, call: &Call, cancelled: &AtomicBool) -> Result<Reply, String> {
    let mut observer = UntilCancelled(cancelled);
    let answered = catch_unwind(AssertUnwindSafe(|| hosted.answer(call, &mut observer)));
    answered.unwrap_or_else(|_| Err("it panicked; the log says where".to_owned()))
}

/// Ends an execution that nobody waits for any more.
struct UntilCancelled<'a>(&'a AtomicBool);

impl UntilCancelled<'_> {
    fn go_on(&self) -> ControlFlow<()> {
        if self.0.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Observer for UntilCancelled<'_> {
    fn positions(&mut self, _: usize, _: usize) -> ControlFlow<()> {
        self.go_on()
    }

    fn token(&mut self, _: u32) -> ControlFlow<()> {
        self.go_on()
    }
}
