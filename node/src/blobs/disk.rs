//! Working on files in the tasks that read and write streams.
//!
//! Nearly all that a system reads and writes of files is in its memory, and takes microseconds: less than to wake a
//! thread for it, which moreover finds the bytes in another processor's cache. So a task works on files itself, until a
//! disk is found to be behind; from then on each such piece of work first hands the other tasks of its thread over to
//! another one.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

/// What takes so long has waited for a disk: longer than a scheduler keeps a thread waiting for others, and short against
/// the timeouts of a node's protocols.
const WAITED: Duration = Duration::from_millis(10);
/// So long after something had to wait, more is expected to.
const EXPECTED: Duration = Duration::from_secs(1);

/// A disk, as far as those notice who share it.
#[derive(Debug, Default)]
pub struct Disk {
    /// When something had to wait last. Held by whoever works without handing over: one at a time, so that of the
    /// runtime's threads no more than one waits unforeseen.
    waited: Mutex<Option<Instant>>,
}

impl Disk {
    /// Does what may have to wait for the disk.
    pub fn work<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let alone = self.alone().filter(|waited| waited.is_none_or(|at| begun >= at + EXPECTED));
        match alone {
            Some(mut waited) => {
                let done = work();
                note(&mut waited, begun, Instant::now());
                done
            }
            None => {
                let done = hand_over(work);
                if let Some(mut waited) = self.alone() {
                    note(&mut waited, begun, Instant::now());
                }
                done
            }
        }
    }

    /// Nothing while another works without handing over.
    fn alone(&self) -> Option<MutexGuard<'_, Option<Instant>>> {
        match self.waited.try_lock() {
            Ok(waited) => Some(waited),
            Err(TryLockError::Poisoned(poisoned)) => Some(PoisonError::into_inner(poisoned)),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

fn note(waited: &mut Option<Instant>, begun: Instant, now: Instant) {
    if now.duration_since(begun) >= WAITED {
        *waited = Some(now);
    }
}

/// Lets the runtime's other tasks go on elsewhere meanwhile, if it has other threads.
fn hand_over<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, sync_channel};

    /// Long enough for any machine: who waits in vain fails and does not hang.
    const FAILS_AFTER: Duration = Duration::from_secs(20);

    fn wait(for_whom: &Receiver<()>) {
        for_whom.recv_timeout(FAILS_AFTER).expect("the other task went on");
    }

    #[test]
    fn what_takes_long_is_expected_again_for_a_second() {
        let now = Instant::now() + Duration::from_secs(3_600);
        for (began, expected) in [(now - WAITED / 2, None), (now - WAITED, Some(now))] {
            let mut waited = None;
            note(&mut waited, began, now);
            assert_eq!(waited, expected);
        }
    }

    #[tokio::test]
    async fn work_is_done_alone_unless_some_had_to_wait_lately() {
        let now = Instant::now();
        for (waited, is_alone) in [(None, true), (Some(now - EXPECTED), true), (Some(now), false)] {
            let disk = Disk { waited: Mutex::new(waited) };
            assert_eq!(disk.work(|| disk.alone().is_none()), is_alone, "{waited:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_runtime_goes_on_while_work_waits_that_was_expected_to() {
        let disk = Disk { waited: Mutex::new(Some(Instant::now() + FAILS_AFTER)) };
        let (tell, told) = sync_channel(1);
        let waiting = tokio::spawn(async move {
            let other = tokio::spawn(async move { tell.send(()) });
            disk.work(|| wait(&told));
            other.await
        });
        waiting.await.unwrap().unwrap().unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_more_than_one_thread_waits_unforeseen() {
        let disk = Arc::new(Disk::default());
        let (tells, told): (Vec<_>, Vec<_>) = (0..4).map(|_| sync_channel(1)).unzip();
        let (begun, has_begun) = sync_channel(4);
        let waiting: Vec<_> = told
            .into_iter()
            .map(|told| {
                let (disk, begun) = (Arc::clone(&disk), begun.clone());
                tokio::spawn(async move {
                    disk.work(|| {
                        begun.send(()).unwrap();
                        wait(&told);
                    });
                })
            })
            .collect();
        let telling = tokio::spawn(async move {
            // By the time when all wait, two threads were not enough for them.
            tokio::task::spawn_blocking(move || (0..4).for_each(|_| wait(&has_begun))).await.unwrap();
            tells.iter().for_each(|tell| tell.send(()).unwrap());
        });
        for task in waiting.into_iter().chain([telling]) {
            task.await.unwrap();
        }
    }
}
