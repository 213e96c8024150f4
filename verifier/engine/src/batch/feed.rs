//! What a job's submitter hears while it runs.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::engine::ExecuteError;
use crate::walk::{Token, Walked};

/// News of a job.
#[derive(Debug)]
pub(crate) enum Event {
    /// Known positions that have been computed, and how many there are.
    Positions(usize, usize),
    /// The next token of the answer.
    Token(Token),
    /// The end; nothing comes after it.
    End(Result<Walked, ExecuteError>),
}

/// The submitter's side. Dropping it stops the job.
pub(crate) struct Feed(Arc<Shared>);

/// The runner's side. Dropping it before the end tells the submitter that the job is lost.
pub(crate) struct Sender(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

/// Bounded: no more tokens than the job asks for, and only the last count of positions.
#[derive(Default)]
struct State {
    tokens: VecDeque<Token>,
    positions: Option<(usize, usize)>,
    end: Option<Result<Walked, ExecuteError>>,
    stopped: bool,
}

impl Feed {
    /// Both sides.
    pub fn new() -> (Self, Sender) {
        let shared = Arc::<Shared>::default();
        (Self(Arc::clone(&shared)), Sender(shared))
    }

    /// Waits for news: tokens in their order, the end after all of them.
    pub fn next(&self) -> Event {
        let mut state = self.0.lock();
        loop {
            if let Some((done, total)) = state.positions.take() {
                return Event::Positions(done, total);
            }
            if let Some(token) = state.tokens.pop_front() {
                return Event::Token(token);
            }
            if let Some(end) = state.end.take() {
                return Event::End(end);
            }
            state = self.0.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
    }
}

impl Sender {
    /// Whether nobody listens any more.
    pub fn is_stopped(&self) -> bool {
        self.0.lock().stopped
    }

    pub fn positions(&self, done: usize, total: usize) {
        self.0.lock().positions = Some((done, total));
        self.0.news.notify_one();
    }

    pub fn token(&self, token: Token) {
        self.0.lock().tokens.push_back(token);
        self.0.news.notify_one();
    }

    /// The first end counts.
    pub fn end(&self, end: Result<Walked, ExecuteError>) {
        self.0.lock().end.get_or_insert(end);
        self.0.news.notify_one();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().end.get_or_insert(Err(ExecuteError::Lost));
        self.0.news.notify_one();
    }
}

impl Shared {
    /// Nothing is left half done under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32) -> Token {
        Token { id, logprobs: None }
    }

    #[test]
    fn tokens_come_in_order_and_before_the_end() {
        let (feed, sender) = Feed::new();
        sender.positions(1, 2);
        sender.positions(2, 2);
        sender.token(token(7));
        sender.token(token(8));
        sender.end(Err(ExecuteError::Stopped));
        assert!(matches!(feed.next(), Event::Positions(2, 2)));
        assert!(matches!(feed.next(), Event::Token(Token { id: 7, .. })));
        assert!(matches!(feed.next(), Event::Token(Token { id: 8, .. })));
        assert!(matches!(feed.next(), Event::End(Err(ExecuteError::Stopped))));
    }

    #[test]
    fn a_job_that_vanishes_is_lost_and_not_waited_for() {
        let (feed, sender) = Feed::new();
        sender.token(token(7));
        drop(sender);
        assert!(matches!(feed.next(), Event::Token(Token { id: 7, .. })));
        assert!(matches!(feed.next(), Event::End(Err(ExecuteError::Lost))));
    }

    #[test]
    fn a_submitter_that_leaves_stops_the_job() {
        let (feed, sender) = Feed::new();
        assert!(!sender.is_stopped());
        drop(feed);
        assert!(sender.is_stopped());
    }
}
