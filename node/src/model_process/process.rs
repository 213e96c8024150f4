//! A model in a process of its own, as the node sees it: started, asked, started again, ended.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use assay_manifest::ModelId;
use tracing::{debug, error, info, warn};

use super::config::{ProcessConfig, Unconfined};
use super::connection::{CallError, Connection};
use super::crashes::Crashes;
use super::message::{Call, Loaded, Order, Reply, Report, Start, VERSION};
use super::system::{in_words, start};
use super::wire::WireError;

/// How long a process may take to confine itself.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a process that reads a model may say nothing.
const LOADING_TIMEOUT: Duration = Duration::from_secs(180);

/// How long it may read at all: this, and a second for so many bytes of the file. A slow disk and a slow processor take
/// a tenth of that; a file that is made to be read for ever must come to an end.
const LOAD_TIMEOUT: Duration = Duration::from_secs(600);
const LOAD_BYTES_PER_SECOND: u64 = 8 << 20;

/// How long a call waits for a process that is being started again, which takes a small model a moment; whoever asks a
/// large one asks again.
const AWAY_TIMEOUT: Duration = Duration::from_secs(20);

/// How a process ended that was ended here.
const TOLD_TO_END: &str = "was told to end";

/// What the processes of one model are started with.
pub struct Plan {
    /// The program, and how far it must be confined.
    pub config: ProcessConfig,
    /// The model, for the log.
    pub model: ModelId,
    /// Its file, opened for reading and found to be what its name says.
    pub file: File,
    /// The first message.
    pub start: Start,
}

/// A model could not be loaded in a process of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be run.
    #[error("{0}")]
    Unusable(String),
    /// The process ended, or was ended, while it read the file.
    #[error("the process that reads it {0}")]
    Died(String),
    /// The process is less confined than was asked for.
    #[error(
        "this system confines a process too little ({0}), and --require-sandbox asks for more; \
         use a kernel with Landlock and seccomp, or leave the flag out"
    )]
    Unconfined(String),
    /// It went on reading for longer than any file of its size takes.
    #[error("the process that reads it takes longer than a file of its size may take")]
    Late,
    /// No process or thread could be started.
    #[error("starting its process: {0}")]
    Start(String),
}

/// A model in a process of its own; the process ends with it.
pub struct ModelProcess {
    shared: Arc<Shared>,
    supervisor: Option<JoinHandle<()>>,
    loaded: Loaded,
}

impl ModelProcess {
    /// Starts a process and waits until it has read the model.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(plan: Plan) -> Result<Self, LoadError> {
        let shared = Arc::new(Shared { plan, state: Mutex::default(), changed: Condvar::new() });
        let own = Arc::clone(&shared);
        // The system ends the process with this thread, which therefore lives as long.
        let supervisor = std::thread::Builder::new().name("model".into()).spawn(move || own.supervise());
        let supervisor = supervisor.map_err(|error| LoadError::Start(error.to_string()))?;
        let loaded = shared.first_load()?;
        Ok(Self { shared, supervisor: Some(supervisor), loaded })
    }

    /// The model as it was read.
    pub const fn loaded(&self) -> Loaded {
        self.loaded
    }

    /// Whether calls have a chance: not once the process has ended too often.
    pub fn serves(&self) -> bool {
        !matches!(self.shared.state().phase, Phase::Ended(_))
    }

    /// The process at present, if there is one.
    pub fn pid(&self) -> Option<u32> {
        self.shared.state().pid
    }

    /// Ends the process; whoever waits for it is told.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Calls that the process has not answered, also such that nobody waits for any more.
    pub fn calls_at_hand(&self) -> usize {
        self.shared.state().connection.as_ref().map_or(0, |connection| connection.calls_at_hand())
    }

    /// Has the model compute something. Where the process is being started again, that is waited for.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&self, call: Call, deadline: Option<Instant>) -> Result<Reply, CallError> {
        self.shared.connection(deadline)?.call(call, deadline)
    }

    /// The same, once more if the process ends before it answers: what it computes does not depend on which process
    /// does, and the end may have been another call's, or the system's.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call_again(&self, make: &dyn Fn() -> Call, deadline: Option<Instant>) -> Result<Reply, CallError> {
        match self.call(make(), deadline) {
            Err(CallError::Died(_)) => self.call(make(), deadline),
            other => other,
        }
    }
}

impl Drop for ModelProcess {
    fn drop(&mut self) {
        self.stop();
        if let Some(supervisor) = self.supervisor.take() {
            // It kills the process and waits for its end, which takes no time; its panic would have been logged.
            let _ = supervisor.join();
        }
    }
}

struct Shared {
    plan: Plan,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    phase: Phase,
    stopping: bool,
    pid: Option<u32>,
    /// Of the present process, also while it reads the model.
    connection: Option<Arc<Connection>>,
}

#[derive(Default)]
enum Phase {
    /// A process reads the model for the first time.
    #[default]
    Loading,
    /// A process answers.
    Serving(Loaded),
    /// The last process ended, as this says; the next is being started.
    Away(String),
    /// There will be no other process.
    Ended(End),
}

/// Why there is no process any more.
#[derive(Clone)]
enum End {
    Stopped,
    NotLoaded(LoadError),
    GivenUp(String),
}

/// Why one process has ended.
enum RunEnd {
    Stopped,
    NotLoaded(LoadError),
    /// It read something else than the first, which was compared with what was asked for.
    OtherModel,
    /// By itself, or because of what it said.
    Died(String),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        self.state().phase = phase;
        self.changed.notify_all();
    }

    fn first_load(&self) -> Result<Loaded, LoadError> {
        let loading = |state: &mut State| matches!(state.phase, Phase::Loading);
        let state = self.changed.wait_while(self.state(), loading).unwrap_or_else(PoisonError::into_inner);
        match &state.phase {
            Phase::Serving(loaded) => Ok(*loaded),
            Phase::Ended(End::NotLoaded(error)) => Err(error.clone()),
            Phase::Ended(End::GivenUp(how)) | Phase::Away(how) => Err(LoadError::Died(how.clone())),
            Phase::Ended(End::Stopped) | Phase::Loading => Err(LoadError::Died(TOLD_TO_END.into())),
        }
    }

    /// The connection to a process that has read the model.
    fn connection(&self, deadline: Option<Instant>) -> Result<Arc<Connection>, CallError> {
        let latest = Instant::now() + AWAY_TIMEOUT;
        let wait = deadline.map_or(latest, |deadline| deadline.min(latest));
        let wait = wait.saturating_duration_since(Instant::now());
        let away = |state: &mut State| matches!(state.phase, Phase::Loading | Phase::Away(_));
        let waited = self.changed.wait_timeout_while(self.state(), wait, away);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (&state.phase, &state.connection) {
            (Phase::Serving(_), Some(connection)) => Ok(Arc::clone(connection)),
            (Phase::Ended(End::GivenUp(how)), _) => Err(CallError::GivenUp(how.clone())),
            (Phase::Away(how), _) => Err(CallError::Away(how.clone())),
            (Phase::Ended(_) | Phase::Loading | Phase::Serving(_), _) => Err(CallError::Stopped),
        }
    }

    fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        if let Some(connection) = &state.connection {
            connection.cut();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Runs one process after the other, until there is to be none.
    fn supervise(&self) {
        let (model, mut crashes, mut first) = (self.plan.model, Crashes::default(), None);
        let end = loop {
            let how = match self.run_once(&mut first) {
                RunEnd::Stopped => break End::Stopped,
                // Whoever has it loaded is told, and says so.
                RunEnd::NotLoaded(error) if first.is_none() => break End::NotLoaded(error),
                RunEnd::Died(how) if first.is_none() => break End::NotLoaded(LoadError::Died(how)),
                RunEnd::OtherModel => {
                    let how = "read another model from the file than the process before".to_owned();
                    error!(%model, how, "a model's process is not started again");
                    break End::GivenUp(how);
                }
                // The first could do it: this machine may be short of something for a while.
                RunEnd::NotLoaded(error) => format!("could not read the model again: {error}"),
                RunEnd::Died(how) => how,
            };
            let Some(pause) = crashes.note(Instant::now()) else {
                error!(%model, how, "a model's process ended too often; the model is not served any more");
                break End::GivenUp(how);
            };
            warn!(%model, how, pause_s = pause.as_secs(), "a model's process ended and is started again");
            self.set(Phase::Away(how));
            let stopping = |state: &mut State| !state.stopping;
            let paused = self.changed.wait_timeout_while(self.state(), pause, stopping);
            if paused.unwrap_or_else(PoisonError::into_inner).0.stopping {
                break End::Stopped;
            }
        };
        debug!(%model, "there is no process for a model any more");
        self.set(Phase::Ended(end));
    }

    /// Runs a process to its end; `first` is what the first of them has read.
    fn run_once(&self, first: &mut Option<Loaded>) -> RunEnd {
        let (mut child, connection) = match start(&self.plan) {
            Ok(started) => started,
            Err(error) => return RunEnd::NotLoaded(LoadError::Start(error.to_string())),
        };
        let connection = Arc::new(connection);
        {
            let mut state = self.state();
            state.pid = Some(child.id());
            state.connection = Some(Arc::clone(&connection));
            if state.stopping {
                connection.cut();
            }
        }
        let served = self.serve(&connection, first);
        // It may have ended by itself; then this changes nothing of how.
        let _ = child.kill();
        let end = self.ended(served, child.wait(), first.is_some());
        connection.end(&match &end {
            RunEnd::Died(how) => CallError::Died(how.clone()),
            RunEnd::Stopped | RunEnd::NotLoaded(_) | RunEnd::OtherModel => CallError::Stopped,
        });
        end
    }

    /// Notes that there is no process. Who asks from now on waits for what comes of that: a phase in which one serves
    /// without a connection is seen by nobody.
    fn ended(
        &self,
        served: Result<std::convert::Infallible, ServeError>,
        status: std::io::Result<std::process::ExitStatus>,
        loaded_once: bool,
    ) -> RunEnd {
        let mut state = self.state();
        (state.pid, state.connection) = (None, None);
        let end = match served {
            _ if state.stopping => RunEnd::Stopped,
            Err(ServeError::NotLoaded(error)) => RunEnd::NotLoaded(error),
            Err(ServeError::OtherModel) => RunEnd::OtherModel,
            Err(ServeError::Wire(WireError::Closed)) => RunEnd::Died(in_words(status)),
            Err(ServeError::Wire(error)) => RunEnd::Died(format!("was ended: {error}")),
        };
        if loaded_once {
            state.phase = Phase::Away(match &end {
                RunEnd::Died(how) => how.clone(),
                RunEnd::Stopped | RunEnd::NotLoaded(_) | RunEnd::OtherModel => TOLD_TO_END.to_owned(),
            });
        }
        end
    }

    /// Greets the process, waits until it has read the model, and passes its answers on until it ends.
    fn serve(
        &self,
        connection: &Connection,
        first: &mut Option<Loaded>,
    ) -> Result<std::convert::Infallible, ServeError> {
        connection.send(&Order::Start(self.plan.start.clone()))?;
        self.greet(connection)?;
        let size_bytes = self.plan.file.metadata().map_or(0, |file| file.len());
        let loaded = read_model(connection, Instant::now() + load_time_max(size_bytes))?;
        if *first.get_or_insert(loaded) != loaded {
            return Err(ServeError::OtherModel);
        }
        info!(model = %self.plan.model, "a model's process is ready");
        self.set(Phase::Serving(loaded));
        loop {
            match connection.receive(None)? {
                Report::Answer { id, result } => connection.answered(id, result)?,
                Report::Hello { .. } | Report::Loading | Report::Ready(_) | Report::Unusable(_) => {
                    return Err(WireError::OutOfPlace("no answer").into());
                }
            }
        }
    }

    fn greet(&self, connection: &Connection) -> Result<(), ServeError> {
        match connection.receive(Some(HELLO_TIMEOUT))? {
            Report::Hello { version: VERSION, confinement } => {
                if !confinement.is_whole() && self.plan.config.unconfined == Unconfined::Refused {
                    return Err(LoadError::Unconfined(confinement.to_string()).into());
                }
                Ok(())
            }
            Report::Hello { version: theirs, .. } => Err(WireError::Version { ours: VERSION, theirs }.into()),
            _ => Err(WireError::OutOfPlace("no greeting").into()),
        }
    }
}

/// The longest that a file of this size may be read for.
fn load_time_max(size_bytes: u64) -> Duration {
    LOAD_TIMEOUT.saturating_add(Duration::from_secs(size_bytes / LOAD_BYTES_PER_SECOND))
}

/// Waits until a process has read the model, as long as it says that it does, but not longer than to `latest`.
fn read_model(connection: &Connection, latest: Instant) -> Result<Loaded, ServeError> {
    loop {
        let left = latest.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(LoadError::Late.into());
        }
        let told = match connection.receive(Some(LOADING_TIMEOUT.min(left))) {
            Err(WireError::Silent) if left < LOADING_TIMEOUT => return Err(LoadError::Late.into()),
            told => told?,
        };
        match told {
            Report::Loading => {}
            Report::Ready(loaded) => return Ok(loaded),
            Report::Unusable(cause) => return Err(LoadError::Unusable(cause).into()),
            Report::Hello { .. } | Report::Answer { .. } => {
                return Err(WireError::OutOfPlace("no word of the model").into());
            }
        }
    }
}

enum ServeError {
    Wire(WireError),
    NotLoaded(LoadError),
    OtherModel,
}

impl From<WireError> for ServeError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<LoadError> for ServeError {
    fn from(error: LoadError) -> Self {
        Self::NotLoaded(error)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::super::wire::send;
    use super::*;

    #[test]
    fn a_process_that_says_for_ever_that_it_reads_is_not_waited_for_for_ever() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let connection = Connection::new(ours).unwrap();
        let says = std::thread::spawn(move || while send(&mut &theirs, &Report::Loading).is_ok() {});
        let read = read_model(&connection, Instant::now() + Duration::from_millis(50));
        assert!(matches!(read, Err(ServeError::NotLoaded(LoadError::Late))));
        drop(connection);
        says.join().unwrap();
        assert_eq!(load_time_max(80 << 30), LOAD_TIMEOUT + Duration::from_secs(10 << 10));
    }
}
