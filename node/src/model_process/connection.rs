//! The node's end of the connection to a model process: calls at hand, and their answers.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::child::CALLS_MAX;
use super::message::{Call, Order, Reply, Report};
use super::wire::{WireError, receive, send};

/// How long a process may leave what it is sent unread before it counts as dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A model process did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It answered that it cannot.
    #[error("{0}")]
    Refused(String),
    /// It has as much to do as it may have; asking again later may help.
    #[error("asking the model's process: {CALLS_MAX} calls are at hand already")]
    Busy,
    /// It did not answer before the caller's deadline.
    #[error("asking the model's process: no answer in time")]
    Late,
    /// It ended before it answered.
    #[error("asking the model's process: it {0}")]
    Died(String),
    /// It is not there, and is being started again.
    #[error("asking the model's process: it is being started again, since it {0}")]
    Away(String),
    /// It ended so often that it is not started again.
    #[error("asking the model's process: it is not started again; at last it {0}")]
    GivenUp(String),
    /// It was told to end.
    #[error("asking the model's process: the model is no longer served")]
    Stopped,
    /// What was to be sent is longer than any message may be.
    #[error("asking the model's process: {0}")]
    TooLong(String),
}

/// What whoever waits is told: an answer, or how the process ended.
type Told = Result<Result<Reply, String>, CallError>;

/// A connection to a running process.
pub struct Connection {
    stream: UnixStream,
    /// Taken for a whole frame.
    writing: Mutex<()>,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    next: u64,
    /// None where nobody waits any more; the process answers nevertheless.
    waiting: HashMap<u64, Option<SyncSender<Told>>>,
    /// How the process ended.
    ended: Option<CallError>,
}

impl Connection {
    /// Over a socket whose other end a process has.
    ///
    /// # Errors
    /// [`WireError::Write`] when the socket cannot be set up.
    pub fn new(stream: UnixStream) -> Result<Self, WireError> {
        stream.set_write_timeout(Some(WRITE_TIMEOUT)).map_err(WireError::Write)?;
        Ok(Self { stream, writing: Mutex::default(), calls: Mutex::default() })
    }

    /// Sends an order.
    ///
    /// # Errors
    /// [`WireError`]; if it was not only too long, the connection is of no use any more and is cut.
    pub fn send(&self, order: &Order) -> Result<(), WireError> {
        let _whole = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = send(&mut &self.stream, order);
        if matches!(sent, Err(WireError::Write(_) | WireError::Closed)) {
            self.cut();
        }
        sent
    }

    /// Waits for the next whole report, for ever if no time is given.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn receive(&self, timeout: Option<Duration>) -> Result<Report, WireError> {
        let Some(timeout) = timeout else {
            self.stream.set_read_timeout(None).map_err(WireError::Read)?;
            return receive(&mut &self.stream);
        };
        receive(&mut Until { stream: &self.stream, latest: Instant::now() + timeout })
    }

    /// Has the process compute something.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&self, call: Call, deadline: Option<Instant>) -> Result<Reply, CallError> {
        let (id, answers) = self.register()?;
        match self.send(&Order::Call { id, call }) {
            Ok(()) => self.wait(id, &answers, deadline),
            Err(error @ WireError::TooLongToSend { .. }) => {
                self.calls().waiting.remove(&id);
                Err(CallError::TooLong(error.to_string()))
            }
            // The connection is cut; whoever reads it tells how the process ended.
            Err(_) => self.wait(id, &answers, None),
        }
    }

    /// Calls that the process has not answered.
    pub fn calls_at_hand(&self) -> usize {
        self.calls().waiting.len()
    }

    fn register(&self) -> Result<(u64, Receiver<Told>), CallError> {
        let mut calls = self.calls();
        if let Some(ended) = &calls.ended {
            return Err(ended.clone());
        }
        if calls.waiting.len() >= CALLS_MAX {
            return Err(CallError::Busy);
        }
        let (answer, answers) = sync_channel(1);
        let id = calls.next;
        calls.next = calls.next.wrapping_add(1);
        calls.waiting.insert(id, Some(answer));
        Ok((id, answers))
    }

    fn wait(&self, id: u64, answers: &Receiver<Told>, deadline: Option<Instant>) -> Result<Reply, CallError> {
        let told = match deadline {
            None => answers.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(deadline) => answers.recv_timeout(deadline.saturating_duration_since(Instant::now())),
        };
        match told {
            Ok(told) => told?.map_err(CallError::Refused),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(waiting) = self.calls().waiting.get_mut(&id) {
                    *waiting = None;
                }
                // A connection that is cut ends the call as well.
                let _ = self.send(&Order::Cancel { id });
                Err(CallError::Late)
            }
            // Nobody but `end` and `answered` lets a sender go, and both tell.
            Err(RecvTimeoutError::Disconnected) => Err(CallError::Stopped),
        }
    }

    /// Passes an answer on.
    ///
    /// # Errors
    /// [`WireError::OutOfPlace`] when nothing was asked under this number.
    pub fn answered(&self, id: u64, result: Result<Reply, String>) -> Result<(), WireError> {
        let waiting = self.calls().waiting.remove(&id);
        let waiting = waiting.ok_or(WireError::OutOfPlace("an answer to what was not asked"))?;
        if let Some(waiting) = waiting {
            // Whoever has just stopped waiting does not need it.
            let _ = waiting.try_send(Ok(result));
        }
        Ok(())
    }

    /// Tells everyone who waits, and who asks from now on, how the process ended.
    pub fn end(&self, how: &CallError) {
        let mut calls = self.calls();
        calls.ended = Some(how.clone());
        for waiting in calls.waiting.drain().filter_map(|(_, waiting)| waiting) {
            // Whoever has just stopped waiting does not need it.
            let _ = waiting.try_send(Err(how.clone()));
        }
    }

    /// Ends the connection; whoever reads it notices.
    pub fn cut(&self) {
        // It may be cut already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that is read until a time, also where byte after byte comes.
struct Until<'a> {
    stream: &'a UnixStream,
    latest: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.latest.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut stream = self.stream;
        stream.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    fn pair() -> (Arc<Connection>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Arc::new(Connection::new(ours).unwrap()), theirs)
    }

    #[test]
    fn answers_find_who_asked_in_any_order() {
        let (connection, mut theirs) = pair();
        let ask = |token: u32| {
            let connection = Arc::clone(&connection);
            std::thread::spawn(move || connection.call(Call::Decode(vec![token]), None))
        };
        let asked = [ask(1), ask(2)];
        let orders = [0, 1].map(|_| receive::<Order>(&mut theirs).unwrap());
        for order in orders.iter().rev() {
            let Order::Call { id, call } = order else { panic!("not a call") };
            let Call::Decode(tokens) = call else { panic!("another call") };
            connection.answered(*id, Ok(Reply::Text(tokens[0].to_string()))).unwrap();
        }
        let answers = asked.map(|asked| asked.join().unwrap().unwrap());
        assert_eq!(answers, [Reply::Text("1".into()), Reply::Text("2".into())]);
    }

    #[test]
    fn who_stops_waiting_cancels_and_an_answer_may_come_all_the_same() {
        let (connection, mut theirs) = pair();
        let late = connection.call(Call::Decode(vec![1]), Some(Instant::now()));
        assert_eq!(late, Err(CallError::Late));
        assert!(matches!(receive::<Order>(&mut theirs).unwrap(), Order::Call { id: 0, .. }));
        assert!(matches!(receive::<Order>(&mut theirs).unwrap(), Order::Cancel { id: 0 }));
        connection.answered(0, Err("ended".into())).unwrap();
        assert!(matches!(connection.answered(0, Err("again".into())), Err(WireError::OutOfPlace(_))));
    }

    #[test]
    fn calls_at_once_are_bounded_also_by_those_that_nobody_waits_for() {
        let (connection, _theirs) = pair();
        for _ in 0..CALLS_MAX {
            let late = connection.call(Call::Decode(Vec::new()), Some(Instant::now()));
            assert_eq!(late, Err(CallError::Late));
        }
        assert_eq!(connection.call(Call::Decode(Vec::new()), None), Err(CallError::Busy));
        connection.answered(3, Err("ended".into())).unwrap();
        let late = connection.call(Call::Decode(Vec::new()), Some(Instant::now()));
        assert_eq!(late, Err(CallError::Late));
    }

    #[test]
    fn everyone_is_told_how_the_process_ended() {
        let (connection, mut theirs) = pair();
        let waiting = Arc::clone(&connection);
        let waiting = std::thread::spawn(move || waiting.call(Call::Decode(Vec::new()), None));
        receive::<Order>(&mut theirs).unwrap();
        let died = CallError::Died("was killed".into());
        connection.end(&died);
        assert_eq!(waiting.join().unwrap(), Err(died.clone()));
        assert_eq!(connection.call(Call::Decode(Vec::new()), None), Err(died));
    }

    #[test]
    fn garbage_of_a_process_is_an_error() {
        let (connection, mut theirs) = pair();
        theirs.write_all(&[1, 0, 0, 0, 0xff]).unwrap();
        assert!(matches!(connection.receive(None), Err(WireError::Malformed(_))));
        theirs.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert!(matches!(connection.receive(None), Err(WireError::TooLong { .. })));
        assert!(matches!(connection.receive(Some(Duration::from_millis(1))), Err(WireError::Silent)));
        drop(theirs);
        assert!(matches!(connection.receive(None), Err(WireError::Closed)));
    }
}
