//! The loop that runs all sequences.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use assay_kernels::{Page, Pool};
use assay_manifest::Digest32;
use tracing::error;

use super::feed::Sender;
use super::prefix::Prefixes;
use crate::engine::{ExecuteError, Settings};
use crate::forward::{Forward, HEAD_ROWS, Part, Scratch, State};
use crate::model::Model;
use crate::walk::{Choice, Step, Walk};

/// A walk that somebody waits for.
pub(crate) struct Job {
    pub walk: Walk,
    pub sender: Sender,
    /// Bytes of cache that it can come to need.
    pub cache_bytes: usize,
}

/// A sequence that is being computed.
struct Sequence {
    job: Job,
    pages: Vec<Arc<Page>>,
    /// One for each visited position.
    roots: Vec<Digest32>,
    /// The end, when it has been reached; nothing is visited after it.
    ended: bool,
}

pub(crate) struct Runner {
    pool: Arc<Pool>,
    settings: Settings,
    inbox: mpsc::Receiver<Job>,
    /// The first of the queue, for which there was no room yet.
    next: Option<Job>,
    sequences: Vec<Sequence>,
    prefixes: Prefixes,
    scratch: Option<Scratch>,
}

impl Runner {
    pub fn new(pool: Arc<Pool>, settings: Settings, inbox: mpsc::Receiver<Job>) -> Self {
        let prefixes = Prefixes::new(settings.prefix_bytes_max);
        Self { pool, settings, inbox, next: None, sequences: Vec::new(), prefixes, scratch: None }
    }

    /// Runs until no job can come any more.
    pub fn run(mut self) {
        loop {
            if self.sequences.is_empty() && self.next.is_none() {
                match self.inbox.recv() {
                    Ok(job) => self.next = Some(job),
                    Err(mpsc::RecvError) => return,
                }
            }
            self.admit();
            // A panic is a mistake in this program. The jobs of the pass are lost, those that come later are not.
            if catch_unwind(AssertUnwindSafe(|| self.pass())).is_err() {
                error!(
                    sequences = self.sequences.len(),
                    "a pass through a model panicked, its jobs are lost"
                );
                self.sequences.clear();
                self.scratch = None;
            }
            self.sequences.retain(|sequence| !sequence.ended);
        }
    }

    /// Takes jobs from the queue, in order, while there is room for them.
    fn admit(&mut self) {
        while let Some(job) = self.next.take().or_else(|| self.inbox.try_recv().ok()) {
            let reserved: usize = self.sequences.iter().map(|sequence| sequence.job.cache_bytes).sum();
            let fits = reserved.saturating_add(job.cache_bytes) <= self.settings.cache_bytes_max
                && self.sequences.len() < self.settings.sequences_max.get();
            // Alone, every job fits that was let into the queue.
            if !fits && !self.sequences.is_empty() {
                self.next = Some(job);
                return;
            }
            let sequence = self.begin(job);
            self.sequences.push(sequence);
        }
    }

    /// A sequence, with what is known of its beginning. The last position of the prompt is always computed.
    fn begin(&mut self, mut job: Job) -> Sequence {
        let prompt = job.walk.prompt();
        let prefix = self.prefixes.find(job.walk.model(), &prompt[..prompt.len() - 1]);
        job.walk.skip(&prefix.roots);
        Sequence { job, pages: prefix.pages, roots: prefix.roots, ended: false }
    }

    /// Computes the next positions of every sequence of one model, and visits them.
    fn pass(&mut self) {
        self.sequences.retain(|sequence| !sequence.job.sender.is_stopped());
        let Some(first) = self.sequences.first() else { return };
        let model = Arc::clone(first.job.walk.model());
        let of_model = |sequence: &Sequence| Arc::ptr_eq(sequence.job.walk.model(), &model);
        // Other models' sequences are first in the next pass.
        self.sequences.sort_by_key(|sequence| !of_model(sequence));
        let count = self.sequences.iter().take_while(|sequence| of_model(sequence)).count();
        let rows_max = self.settings.prefill_chunk.get() + self.settings.sequences_max.get();
        if !self.scratch.as_ref().is_some_and(|scratch| scratch.serves(rows_max, model.config())) {
            self.scratch = Some(Scratch::new(rows_max, model.config()));
        }
        let Some(scratch) = self.scratch.as_mut() else { return };
        let mut pass = Pass::new(&self.pool, &model, scratch, &mut self.sequences[..count]);
        pass.run(self.settings.prefill_chunk.get());
        for sequence in self.sequences[..count].iter_mut().filter(|sequence| sequence.ended) {
            let tokens = sequence.job.walk.visited();
            self.prefixes.keep(&model, tokens, &sequence.pages, &sequence.roots);
        }
        self.sequences.rotate_left(count);
    }
}

/// One pass, for sequences of one model.
struct Pass<'a> {
    pool: &'a Pool,
    forward: Forward<'a>,
    sequences: &'a mut [Sequence],
}

/// A row whose logits are wanted.
#[derive(Clone, Copy)]
struct HeadRow {
    sequence: usize,
    row: usize,
    position: usize,
}

impl<'a> Pass<'a> {
    fn new(
        pool: &'a Pool,
        model: &'a Model,
        scratch: &'a mut Scratch,
        sequences: &'a mut [Sequence],
    ) -> Self {
        Self { pool, forward: Forward::new(pool, model, scratch), sequences }
    }

    /// Every sequence gets a row, and the first ones as many as they know tokens for, `chunk` in all.
    fn run(&mut self, chunk: usize) {
        let mut left = chunk;
        let mut wanted = |sequence: &Sequence| {
            let positions = sequence.job.walk.wanted(left.max(1));
            left = left.saturating_sub(positions.len());
            positions
        };
        let wanted: Vec<Range<usize>> = self.sequences.iter().map(&mut wanted).collect();
        let parts = self.sequences.iter_mut().zip(&wanted).map(|(sequence, positions)| Part {
            pages: &mut sequence.pages,
            first: positions.start,
            tokens: sequence.job.walk.tokens(positions.clone()),
        });
        if let Err(error) = self.forward.run(&mut parts.collect::<Vec<_>>()) {
            for sequence in self.sequences.iter_mut() {
                sequence.end(Err(ExecuteError::OutOfMemory(error)));
            }
            return;
        }
        let states = self.forward.states();
        let heads = self.visit_prompts(&wanted, &states);
        for rows in heads.chunks(HEAD_ROWS) {
            self.visit_answers(rows, &states);
        }
        for (sequence, positions) in self.sequences.iter_mut().zip(&wanted) {
            sequence.report(positions.end);
        }
    }

    /// Visits the rows that need no logits, which come first in every sequence; returns the others.
    fn visit_prompts(&mut self, wanted: &[Range<usize>], states: &[State]) -> Vec<HeadRow> {
        let (mut row, mut heads) = (0, Vec::new());
        for (index, (sequence, positions)) in self.sequences.iter_mut().zip(wanted).enumerate() {
            for position in positions.clone() {
                if sequence.job.walk.needs_logits(position) {
                    heads.push(HeadRow { sequence: index, row, position });
                } else {
                    sequence.visit(states[row], None);
                }
                row += 1;
            }
        }
        heads
    }

    /// Runs the output head for rows of sequences that have not ended, chooses their tokens side by side, and
    /// visits them in order.
    fn visit_answers(&mut self, rows: &[HeadRow], states: &[State]) {
        let goes_on = |row: &HeadRow| !self.sequences[row.sequence].ended;
        let rows: Vec<HeadRow> = rows.iter().copied().filter(goes_on).collect();
        if rows.is_empty() {
            return;
        }
        for row in &rows {
            self.sequences[row.sequence].job.walk.prepare(row.position);
        }
        let logits = self.forward.logits(&rows.iter().map(|row| row.row).collect::<Vec<_>>());
        let vocab = logits.len() / rows.len();
        /// Hashing and choosing cost about as much as this many multiply-adds a logit.
        const OPS_PER_LOGIT: usize = 24;
        let mut choices: Vec<Option<Choice>> = vec![None; rows.len()];
        let sequences = &*self.sequences;
        self.pool.for_each(&mut choices, vocab * OPS_PER_LOGIT, |index, choice| {
            let HeadRow { sequence, position, .. } = rows[index];
            let logits = &logits[index * vocab..][..vocab];
            *choice = Some(sequences[sequence].job.walk.choose(position, logits));
        });
        for (row, choice) in rows.iter().zip(choices) {
            self.sequences[row.sequence].visit(states[row.row], choice);
        }
    }
}

impl Sequence {
    /// Visits the next position, unless the end was before it.
    fn visit(&mut self, state: State, choice: Option<Choice>) {
        if self.ended {
            return;
        }
        let walk = &mut self.job.walk;
        let end = match walk.visit(state, choice) {
            Ok(Step::Read) => None,
            Ok(Step::Token(token)) => {
                let id = token.id;
                self.job.sender.token(token);
                walk.take(id)
            }
            Err(end) => Some(end),
        };
        self.roots.extend(state.root);
        if let Some(end) = end {
            let walked = self.job.walk.walked(end);
            self.end(Ok(walked));
        }
    }

    /// Tells of positions that were known in advance.
    fn report(&self, computed: usize) {
        let (visited, total) = self.job.walk.progress();
        if !self.ended && computed <= total {
            self.job.sender.positions(visited, total);
        }
    }

    fn end(&mut self, end: Result<crate::walk::Walked, ExecuteError>) {
        self.job.sender.end(end);
        self.ended = true;
    }
}
