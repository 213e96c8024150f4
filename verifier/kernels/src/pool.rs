//! A small pool of threads that share out one kernel at a time and sleep when there is none.
//!
//! Work is split by index; which thread takes which index changes no result. Work too small to be worth a
//! hand-over runs on the caller's thread.

use std::any::Any;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use crate::cpu::Cpu;
use crate::float::{FloatEnvironmentError, check_environment};

/// Work under this many multiply-adds stays on the caller's thread: waking another costs about 10 µs, in
/// which one thread does some 100,000 of them.
const SHARED_OPS_MIN: usize = 200_000;

/// Tasks a thread gets of a split range: enough to even out a thread that is held up.
const TASKS_PER_THREAD: usize = 16;

/// Looks at a flag before letting others run; about 10 µs, the gap between two kernels of a forward pass.
const SPINS: u32 = 300;

/// Times that others are let run before going to sleep; about 1 ms on an idle machine, the gap between two passes.
const YIELDS: u32 = 2_000;

/// Threads that run kernels; the caller's is one of them.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Where each thread is in its share of the tasks; held by the caller whose job runs.
    turn: Mutex<Box<[Cursor]>>,
    cpu: Cpu,
}

/// A pool could not be started.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The system gave no thread.
    #[error("starting a kernel thread: {0}")]
    Spawn(#[from] std::io::Error),
    /// A thread's floating-point settings are wrong.
    #[error(transparent)]
    Float(#[from] FloatEnvironmentError),
}

impl Pool {
    /// Starts `threads − 1` threads, which run what is compiled for `cpu`.
    ///
    /// # Errors
    /// [`PoolError`] when the system gives no thread, or one with settings that would change results.
    pub fn new(threads: NonZeroUsize, cpu: Cpu) -> Result<Self, PoolError> {
        check_environment()?;
        let cursors = (0..threads.get()).map(|_| Cursor::default()).collect();
        let mut pool = Self { shared: Arc::default(), workers: Vec::new(), turn: Mutex::new(cursors), cpu };
        let (report, reports) = mpsc::sync_channel(threads.get());
        for index in 1..threads.get() {
            let (shared, report) = (Arc::clone(&pool.shared), report.clone());
            let body = move || {
                // The receiver lives until every thread has reported.
                let _ = report.send(check_environment());
                drop(report);
                shared.serve(index);
            };
            pool.workers.push(std::thread::Builder::new().name(format!("kernel-{index}")).spawn(body)?);
        }
        drop(report);
        reports.iter().collect::<Result<(), _>>()?;
        Ok(pool)
    }

    /// Threads that share the work, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// The instruction set of the kernels.
    pub const fn cpu(&self) -> Cpu {
        self.cpu
    }

    /// Calls `f` with ranges that together cover `0..count` once; an item costs `ops` multiply-adds.
    pub fn for_each_range(&self, count: usize, ops: usize, f: impl Fn(Range<usize>) + Sync) {
        if self.workers.is_empty() || count < 2 || count.saturating_mul(ops) < SHARED_OPS_MIN {
            return f(0..count);
        }
        let tasks = count.min(self.threads() * TASKS_PER_THREAD);
        self.run(tasks, &|task| f(count * task / tasks..count * (task + 1) / tasks));
    }

    /// Calls `f` once for every item; an item costs `ops` multiply-adds.
    pub fn for_each<T: Send>(&self, items: &mut [T], ops: usize, f: impl Fn(usize, &mut T) + Sync) {
        let parts = Parts::of(items);
        self.for_each_range(parts.len, ops, |range| {
            for index in range {
                // SAFETY: the ranges are disjoint, so every index is visited once.
                f(index, unsafe { parts.item(index) });
            }
        });
    }

    /// Calls `f` once for every row of `width` values; a row costs `ops` multiply-adds.
    pub fn for_each_row(
        &self,
        values: &mut [f32],
        width: usize,
        ops: usize,
        f: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let rows = values.len() / width;
        let parts = Parts::of(values);
        self.for_each_range(rows, ops, |range| {
            for row in range {
                // SAFETY: the ranges are disjoint, so every row is visited once.
                f(row, unsafe { parts.items(row * width..(row + 1) * width) });
            }
        });
    }

    /// Calls `f` with every number under `tasks`, on all threads, and returns when all calls have.
    fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        let cursors = lock(&self.turn);
        let job = Job::new(f, &cursors, tasks);
        for (thread, cursor) in cursors.iter().enumerate() {
            cursor.0.store(job.share(thread).start, Ordering::Relaxed);
        }
        let published = self.shared.publish(job);
        job.work(0);
        drop(published);
        if let Some(panic) = lock(&self.shared.state).panic.take() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.stop = true;
        self.shared.started.fetch_add(1, Ordering::Release);
        drop(state);
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches every panic of a job, and has none of its own.
            let _ = worker.join();
        }
    }
}

/// A slice whose parts several threads change at once.
struct Parts<'a, T> {
    first: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]` whose items are handed to one thread each.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    fn of(items: &'a mut [T]) -> Self {
        Self { first: items.as_mut_ptr(), len: items.len(), borrow: PhantomData }
    }

    /// # Safety
    /// No index may be lent twice at a time.
    #[expect(clippy::mut_from_ref, reason = "the caller vouches that items are lent once")]
    unsafe fn item(&self, index: usize) -> &mut T {
        assert!(index < self.len);
        // SAFETY: within the slice, and lent once by the caller's promise.
        unsafe { &mut *self.first.add(index) }
    }

    /// # Safety
    /// No index may be lent twice at a time.
    #[expect(clippy::mut_from_ref, reason = "the caller vouches that items are lent once")]
    unsafe fn items(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the slice, and lent once by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(range.start), range.len()) }
    }
}

/// What the caller shares with the workers: pointers into its own stack, which outlive the job because the
/// caller withdraws it, and waits for everyone who took it, before it goes on.
#[derive(Clone, Copy)]
struct Job {
    f: *const (dyn Fn(usize) + Sync),
    cursors: *const [Cursor],
    tasks: usize,
}

/// The next task of a thread's share, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cursor(AtomicUsize);

// SAFETY: both pointees are `Sync`, and the caller keeps them alive while a worker has the job.
unsafe impl Send for Job {}

impl Job {
    fn new<'a>(f: &'a (dyn Fn(usize) + Sync + 'a), cursors: &[Cursor], tasks: usize) -> Self {
        let f: *const (dyn Fn(usize) + Sync + 'a) = f;
        // SAFETY: only the lifetime changes, and `Published` ends the job within it.
        let f = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + 'a), *const (dyn Fn(usize) + Sync + 'static)>(
                f,
            )
        };
        Self { f, cursors, tasks }
    }

    /// The tasks of a thread: neighbours, so that what it reads of memory is in one piece.
    fn share(&self, thread: usize) -> Range<usize> {
        let threads = self.cursors.len();
        self.tasks * thread / threads..self.tasks * (thread + 1) / threads
    }

    /// Does the tasks of a thread, then what others have left of theirs.
    fn work(&self, thread: usize) {
        // SAFETY: the caller of `run` keeps both alive until every thread that has the job is done.
        let (f, cursors) = unsafe { (&*self.f, &*self.cursors) };
        for owner in (thread..cursors.len()).chain(0..thread) {
            let end = self.share(owner).end;
            loop {
                let task = cursors[owner].0.fetch_add(1, Ordering::Relaxed);
                if task >= end {
                    break;
                }
                f(task);
            }
        }
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when a job is there, or the pool ends.
    wake: Condvar,
    /// Told when the last worker leaves a job.
    done: Condvar,
    /// Jobs so far, so that workers can look without the lock; grows only under it.
    started: AtomicU64,
    /// Workers inside the current job; grows only under the lock, while the job is there.
    running: AtomicUsize,
}

#[derive(Default)]
struct State {
    job: Option<Job>,
    /// Workers that wait to be told of a job.
    asleep: usize,
    stop: bool,
    panic: Option<Box<dyn Any + Send>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// A job that workers can take; dropping it withdraws it and waits for those who took it.
struct Published<'a>(&'a Shared);

impl Drop for Published<'_> {
    fn drop(&mut self) {
        let shared = self.0;
        lock(&shared.state).job = None;
        wait_awake(|| shared.running.load(Ordering::Acquire) == 0);
        if shared.running.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut state = lock(&shared.state);
        while shared.running.load(Ordering::Acquire) != 0 {
            state = shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn publish(&self, job: Job) -> Published<'_> {
        let mut state = lock(&self.state);
        state.job = Some(job);
        self.started.fetch_add(1, Ordering::Release);
        let asleep = state.asleep;
        drop(state);
        if asleep > 0 {
            self.wake.notify_all();
        }
        Published(self)
    }

    /// A worker's life.
    fn serve(&self, thread: usize) {
        let mut seen = 0;
        while let Some(job) = self.next_job(&mut seen) {
            let outcome = catch_unwind(AssertUnwindSafe(|| job.work(thread)));
            let mut state = lock(&self.state);
            if let Err(panic) = outcome {
                state.panic = Some(panic);
            }
            if self.running.fetch_sub(1, Ordering::Release) == 1 {
                self.done.notify_all();
            }
        }
    }

    /// Waits for a job that this worker has not seen; none when the pool ends.
    fn next_job(&self, seen: &mut u64) -> Option<Job> {
        wait_awake(|| self.started.load(Ordering::Acquire) != *seen);
        let mut state = lock(&self.state);
        loop {
            if state.stop {
                return None;
            }
            let started = self.started.load(Ordering::Acquire);
            if let (Some(job), true) = (state.job, started != *seen) {
                *seen = started;
                self.running.fetch_add(1, Ordering::Relaxed);
                return Some(job);
            }
            *seen = started;
            state.asleep += 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
        }
    }
}

/// Waits a while: spins, then yields. Who is still not ready then is to be waited for asleep, so that a machine
/// with other work keeps its processors.
fn wait_awake(ready: impl Fn() -> bool) {
    for _ in 0..SPINS {
        if ready() {
            return;
        }
        std::hint::spin_loop();
    }
    for _ in 0..YIELDS {
        if ready() {
            return;
        }
        std::thread::yield_now();
    }
}

/// A panic inside a job is caught and passed on to its caller, so no lock protects anything half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> Pool {
        Pool::new(NonZeroUsize::new(threads).unwrap(), Cpu::detect()).unwrap()
    }

    #[test]
    fn every_item_is_visited_once_whatever_the_threads() {
        for threads in [1, 2, 5] {
            let pool = pool(threads);
            for count in [0, 1, 2, 3, 7, 64, 1_000] {
                let mut items = vec![0usize; count];
                pool.for_each(&mut items, SHARED_OPS_MIN, |index, item| *item += index + 1);
                assert!(items.iter().enumerate().all(|(index, item)| *item == index + 1));
            }
        }
    }

    #[test]
    fn rows_are_split_at_their_width() {
        let pool = pool(3);
        let mut values = vec![0.0; 30];
        pool.for_each_row(&mut values, 3, SHARED_OPS_MIN, |row, out| out.fill(row as f32));
        assert!(values.iter().enumerate().all(|(i, v)| *v == (i / 3) as f32));
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = pool(2);
        for bad in 0..8 {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                pool.for_each_range(8, SHARED_OPS_MIN, |range| assert!(!range.contains(&bad)));
            }));
            assert!(panicked.is_err());
        }
        let sum = AtomicUsize::new(0);
        pool.for_each_range(8, SHARED_OPS_MIN, |range| {
            sum.fetch_add(range.sum::<usize>(), Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 28);
    }

    #[test]
    fn callers_on_several_threads_take_turns() {
        let pool = pool(2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mut items = [0u64; 16];
                        pool.for_each(&mut items, SHARED_OPS_MIN, |i, item| *item = i as u64);
                        assert_eq!(items.iter().sum::<u64>(), 120);
                    }
                });
            }
        });
    }
}
