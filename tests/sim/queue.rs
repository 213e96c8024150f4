//! Virtual time: what happens next, and when.

use std::collections::BTreeMap;

/// Events by the time at which they happen, in milliseconds, and of one time in the order in which they were put in.
pub struct Queue<E> {
    events: BTreeMap<(u64, u64), E>,
    /// Events so far: no two share a place.
    count: u64,
    now_ms: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), count: 0, now_ms: 0 }
    }
}

impl<E> Queue<E> {
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Has an event happen after so many milliseconds.
    pub fn after(&mut self, delay_ms: u64, event: E) {
        self.count += 1;
        self.events.insert((self.now_ms + delay_ms, self.count), event);
    }

    /// The next event; the time is then its own.
    pub fn next(&mut self) -> Option<E> {
        let ((at_ms, _), event) = self.events.pop_first()?;
        self.now_ms = at_ms;
        Some(event)
    }
}
