//! What the pool decides. No clock, no channels: [`Pool::step`] takes an event and returns what is to be done.

use std::collections::{HashMap, HashSet};

use assay_runtime::{AccountId, Hash};
use sp_runtime::transaction_validity::{
    InvalidTransaction, TransactionTag, TransactionValidityError, ValidTransaction,
};

use super::bans::Bans;
use super::graph::{Entry, Graph, Place};
use super::inbox::Counts;
use super::quota::Quota;
use super::{CheckError, Config, PoolError, Transaction, Verdict};

/// Names a submission, so that its answer finds the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ticket(pub u64);

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    /// Somebody wants a transaction to be in a block.
    Submitted { ticket: Ticket, transaction: Transaction },
    /// The ledger has looked at a transaction.
    Checked { hash: Hash, outcome: Result<Verdict, CheckError> },
    /// A block was finalized.
    Finalized { height: u32, block: Hash, included: Vec<Hash> },
    /// Transactions turned out invalid while a block was built.
    Rejected(Vec<Hash>),
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Ask the ledger about a transaction.
    Check(Transaction),
    /// Tell a submitter whether its transaction was accepted.
    Answer(Ticket, Result<Hash, PoolError>),
    /// Tell who watches a transaction what became of it.
    Tell(Hash, Status),
}

/// What became of an accepted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It can be in the next block.
    Ready,
    /// It waits for an earlier one.
    Future,
    /// It is in this finalized block. Nothing follows.
    Finalized(Hash),
    /// It has become invalid. Nothing follows.
    Invalid,
    /// It waited too long. Nothing follows.
    Dropped,
}

impl Status {
    /// Whether nothing follows.
    pub const fn is_last(self) -> bool {
        matches!(self, Self::Finalized(_) | Self::Invalid | Self::Dropped)
    }
}

impl From<Place> for Status {
    fn from(place: Place) -> Self {
        match place {
            Place::Ready => Self::Ready,
            Place::Future => Self::Future,
        }
    }
}

/// The pool.
pub(super) struct Pool {
    config: Config,
    height: u32,
    arrivals: u64,
    graph: Graph,
    quota: Quota,
    bans: Bans,
    /// Submissions that the ledger is looking at.
    submitted: HashMap<Hash, (Ticket, Transaction)>,
    /// Transactions in the pool that the ledger is looking at again.
    rechecking: HashSet<Hash>,
}

impl Pool {
    pub fn new(config: Config, height: u32) -> Self {
        Self {
            config,
            height,
            arrivals: 0,
            graph: Graph::default(),
            quota: Quota::new(config),
            bans: Bans::new(config.transactions_max),
            submitted: HashMap::new(),
            rechecking: HashSet::new(),
        }
    }

    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Submitted { ticket, transaction } => self.submitted(ticket, transaction),
            Event::Checked { hash, outcome } => match self.submitted.remove(&hash) {
                Some((ticket, transaction)) => self.judge(ticket, transaction, outcome),
                None => self.judge_again(hash, outcome),
            },
            Event::Finalized { height, block, included } => self.finalized(height, block, &included),
            Event::Rejected(hashes) => {
                hashes.iter().flat_map(|hash| self.leave(hash, Status::Invalid)).collect()
            }
        }
    }

    /// Ready transactions in the order of a block, up to `bytes_max` bytes of them.
    pub fn ready(&self, bytes_max: usize) -> Vec<Transaction> {
        let mut left = bytes_max;
        let fits = |transaction: &&Transaction| match left.checked_sub(transaction.bytes().len()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        self.graph.in_block_order().take_while(fits).cloned().collect()
    }

    /// All ready transactions in the order of a block.
    pub fn pending(&self) -> Vec<Transaction> {
        self.graph.in_block_order().cloned().collect()
    }

    pub fn tags_of(&self, account: &AccountId) -> Vec<TransactionTag> {
        self.graph.tags_of(account)
    }

    pub fn counts(&self) -> Counts {
        let ready = self.graph.count_ready();
        Counts { ready, future: self.graph.len().saturating_sub(ready), bytes: self.quota.bytes() }
    }

    fn submitted(&mut self, ticket: Ticket, transaction: Transaction) -> Vec<Effect> {
        let hash = transaction.hash();
        let refusal = if self.submitted.contains_key(&hash) || self.graph.get(&hash).is_some() {
            Some(PoolError::Known)
        } else if self.bans.contains(&hash) {
            Some(PoolError::Banned)
        } else {
            self.quota.take_room(&transaction).err()
        };
        if let Some(refusal) = refusal {
            return vec![Effect::Answer(ticket, Err(refusal))];
        }
        self.submitted.insert(hash, (ticket, transaction.clone()));
        vec![Effect::Check(transaction)]
    }

    fn judge(
        &mut self,
        ticket: Ticket,
        transaction: Transaction,
        outcome: Result<Verdict, CheckError>,
    ) -> Vec<Effect> {
        let hash = transaction.hash();
        match self.admit(&transaction, outcome) {
            Ok(mut effects) => {
                effects.insert(0, Effect::Answer(ticket, Ok(hash)));
                effects
            }
            Err(error) => {
                self.ban_if_final(&error, &transaction);
                self.quota.give_back_room(&transaction);
                vec![Effect::Answer(ticket, Err(error))]
            }
        }
    }

    fn admit(
        &mut self,
        transaction: &Transaction,
        outcome: Result<Verdict, CheckError>,
    ) -> Result<Vec<Effect>, PoolError> {
        let (checked_at, validity) = valid(outcome)?;
        if self.graph.is_taken(&validity.provides) {
            return Err(PoolError::Taken);
        }
        self.quota.take_share(transaction)?;
        let arrival = self.arrivals;
        self.arrivals += 1;
        let entry =
            Entry { transaction: transaction.clone(), validity, checked_at, since: self.height, arrival };
        let mut effects = tell(self.graph.insert(entry));
        if checked_at < self.height {
            // A block came in between: what it requires may be there now.
            effects.extend(self.recheck(transaction.hash()));
        }
        Ok(effects)
    }

    fn judge_again(&mut self, hash: Hash, outcome: Result<Verdict, CheckError>) -> Vec<Effect> {
        self.rechecking.remove(&hash);
        let Some(entry) = self.graph.get(&hash) else { return Vec::new() };
        match valid(outcome) {
            Ok((height, validity)) if validity.provides == entry.validity.provides => {
                tell(self.graph.refresh(&hash, validity, height))
            }
            Ok(_) => self.leave(&hash, Status::Dropped),
            // Its turn comes again.
            Err(PoolError::Ledger(_)) => Vec::new(),
            Err(error) => {
                self.ban_if_final(&error, &entry.transaction.clone());
                self.leave(&hash, Status::Invalid)
            }
        }
    }

    fn finalized(&mut self, height: u32, block: Hash, included: &[Hash]) -> Vec<Effect> {
        self.height = height;
        self.bans.expire(height);
        let mut effects = Vec::new();
        for hash in included {
            if let Some((entry, promoted)) = self.graph.include(hash) {
                self.release(&entry);
                effects.push(Effect::Tell(*hash, Status::Finalized(block)));
                effects.extend(tell(promoted));
            }
        }
        for hash in self.outdated() {
            effects.extend(self.leave(&hash, Status::Dropped));
        }
        for hash in self.due() {
            effects.extend(self.recheck(hash));
        }
        effects
    }

    /// Transactions whose validity has ended, or that waited too long for another.
    fn outdated(&self) -> Vec<Hash> {
        let waited = |entry: &Entry| self.height.saturating_sub(entry.since) > self.config.waiting_blocks_max;
        let entries = self.graph.iter();
        let outdated = entries.filter(|(entry, place)| {
            entry.expired(self.height) || (*place == Place::Future && waited(entry))
        });
        outdated.map(|(entry, _)| entry.transaction.hash()).collect()
    }

    /// Transactions to check again now: the longest unchecked first, then the order of arrival.
    fn due(&self) -> Vec<Hash> {
        let idle = |entry: &&Entry| !self.rechecking.contains(&entry.transaction.hash());
        let mut due: Vec<_> = self.graph.iter().map(|(entry, _)| entry).filter(idle).collect();
        due.sort_unstable_by_key(|entry| (entry.checked_at, entry.arrival));
        let room = self.config.rechecks_per_block.saturating_sub(self.rechecking.len());
        due.into_iter().take(room).map(|entry| entry.transaction.hash()).collect()
    }

    fn recheck(&mut self, hash: Hash) -> Option<Effect> {
        let transaction = self.graph.get(&hash)?.transaction.clone();
        self.rechecking.insert(hash).then_some(Effect::Check(transaction))
    }

    fn leave(&mut self, hash: &Hash, status: Status) -> Vec<Effect> {
        let Some((entry, demoted)) = self.graph.remove(hash) else { return Vec::new() };
        self.release(&entry);
        let mut effects = vec![Effect::Tell(*hash, status)];
        effects.extend(tell(demoted));
        effects
    }

    fn ban_if_final(&mut self, error: &PoolError, transaction: &Transaction) {
        if is_final(error, transaction) {
            self.bans.add(transaction.hash(), self.height.saturating_add(self.config.ban_blocks));
        }
    }

    fn release(&mut self, entry: &Entry) {
        self.quota.give_back_room(&entry.transaction);
        self.quota.give_back_share(&entry.transaction);
    }
}

fn tell(places: Vec<(Hash, Place)>) -> Vec<Effect> {
    places.into_iter().map(|(hash, place)| Effect::Tell(hash, place.into())).collect()
}

fn valid(outcome: Result<Verdict, CheckError>) -> Result<(u32, ValidTransaction), PoolError> {
    let verdict = outcome.map_err(|error| match error {
        CheckError::Malformed(cause) => PoolError::Malformed(cause),
        CheckError::Failed(cause) => PoolError::Ledger(cause),
    })?;
    let mut validity = verdict.validity.map_err(|error| match error {
        TransactionValidityError::Invalid(reason) => PoolError::Invalid(reason),
        TransactionValidityError::Unknown(reason) => PoolError::Unknown(reason),
    })?;
    for tags in [&mut validity.requires, &mut validity.provides] {
        tags.sort_unstable();
        tags.dedup();
    }
    if validity.provides.is_empty() {
        return Err(PoolError::NoTag);
    }
    if validity.requires.iter().any(|tag| validity.provides.contains(tag)) {
        return Err(PoolError::Cycle);
    }
    Ok((verdict.height, validity))
}

/// Whether the same bytes can never become valid. Steps can: they may come before their time.
fn is_final(error: &PoolError, transaction: &Transaction) -> bool {
    use InvalidTransaction::{AncientBirthBlock, BadProof, BadSigner, MandatoryValidation, Stale};
    match error {
        PoolError::Malformed(_) => true,
        PoolError::Invalid(BadProof | AncientBirthBlock | BadSigner | MandatoryValidation) => true,
        PoolError::Invalid(Stale) => transaction.signer().is_some(),
        _ => false,
    }
}
