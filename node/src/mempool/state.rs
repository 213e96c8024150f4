//! What the pool decides. No clock, no channels: [`Pool::step`] takes an event and returns what is to be done.

use std::collections::{BTreeSet, HashMap, HashSet};

use assay_runtime::{AccountId, Hash};
use sp_runtime::transaction_validity::{TransactionTag, TransactionValidityError, ValidTransaction};

use super::bans::Bans;
use super::graph::{Entry, Graph, Place};
use super::inbox::Counts;
use super::quota::{Quota, Room};
use super::{CheckError, Config, Outlook, PoolError, Transaction, Verdict};

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
    /// It waited too long, or the pool was full. Nothing follows.
    Dropped,
    /// This other transaction of the same account and nonce has taken its place. Nothing follows.
    Usurped(Hash),
}

impl Status {
    /// Whether nothing follows.
    pub const fn is_last(self) -> bool {
        matches!(self, Self::Finalized(_) | Self::Invalid | Self::Dropped | Self::Usurped(_))
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
        let mut effects = match event {
            Event::Submitted { ticket, transaction } => self.submitted(ticket, transaction),
            Event::Checked { hash, outcome } => match self.submitted.remove(&hash) {
                Some((ticket, transaction)) => self.judge(ticket, transaction, outcome),
                None => self.judge_again(hash, outcome),
            },
            Event::Finalized { height, block, included } => self.finalized(height, block, &included),
            Event::Rejected(hashes) => {
                hashes.iter().flat_map(|hash| self.leave(hash, Status::Invalid)).collect()
            }
        };
        effects.extend(self.shed_waiting());
        effects
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

    /// Those of these transactions that are here.
    pub fn held(&self, hashes: &[Hash]) -> Vec<Transaction> {
        hashes.iter().filter_map(|hash| self.graph.get(hash)).map(|entry| entry.transaction.clone()).collect()
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
            self.quota.begin_check(&transaction).err()
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
        self.quota.end_check(&transaction);
        match self.admit(&transaction, outcome) {
            Ok(mut effects) => {
                effects.insert(0, Effect::Answer(ticket, Ok(hash)));
                effects
            }
            Err(error) => {
                self.ban_if_final(&error, &transaction);
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
        let arrival = self.arrivals;
        let entry =
            Entry { transaction: transaction.clone(), validity, checked_at, since: self.height, arrival };
        let rivals = self.graph.providers_of(&entry.validity.provides);
        if rivals.is_empty() {
            self.quota.check_share(transaction)?;
        }
        for rival in &rivals {
            self.check_outbids(&entry, rival)?;
        }
        let victims = self.victims(&entry, &rivals)?;
        // Nothing can fail from here on.
        self.arrivals += 1;
        let mut effects = self.replace(&rivals, entry);
        for victim in victims {
            effects.extend(self.leave(&victim, Status::Dropped));
        }
        if checked_at < self.height {
            // A block came in between: what it requires may be there now.
            effects.extend(self.recheck(transaction.hash()));
        }
        Ok(effects)
    }

    /// Whether a transaction may take the place of another that provides the same.
    fn check_outbids(&self, entry: &Entry, rival: &Hash) -> Result<(), PoolError> {
        let Some(rival) = self.graph.get(rival) else { return Ok(()) };
        let account = entry.transaction.signer();
        if account.is_none() || account != rival.transaction.signer() {
            return Err(PoolError::Taken);
        }
        let percent = self.config.replacement_percent;
        let raise = u128::from(rival.validity.priority).saturating_mul(percent.into()).div_ceil(100).max(1);
        if u128::from(entry.validity.priority) < u128::from(rival.validity.priority).saturating_add(raise) {
            return Err(PoolError::Underpriced { percent });
        }
        Ok(())
    }

    /// What must leave so that there is room for a transaction once its rivals have left: the lowest, and what
    /// depends on them.
    fn victims(&self, entry: &Entry, rivals: &BTreeSet<Hash>) -> Result<BTreeSet<Hash>, PoolError> {
        let mut freed = Room::default();
        let leaving = rivals.iter().filter_map(|rival| self.graph.get(rival));
        leaving.for_each(|rival| freed += Room::of(&rival.transaction));
        let lacking = self.quota.lacking(&entry.transaction, freed);
        let rank = self.graph.rank_of(entry);
        if rank.waits() && self.graph.count_waiting() >= self.config.waiting_max {
            // One of those that wait will have to leave, see `shed_waiting`.
            let lowest = self.graph.lowest_first().next();
            lowest.filter(|(lowest, _)| *lowest < rank).ok_or(PoolError::Full)?;
        }
        let (mut found, mut victims) = (Room::default(), BTreeSet::new());
        for (other, candidate) in self.graph.lowest_first() {
            if found.covers(lacking) {
                break;
            }
            if other >= rank {
                return Err(PoolError::Full);
            }
            let hash = candidate.transaction.hash();
            for hash in std::iter::once(hash).chain(self.graph.dependants_of(&hash)) {
                if !rivals.contains(&hash) && victims.insert(hash) {
                    let leaving = self.graph.get(&hash);
                    leaving.into_iter().for_each(|entry| found += Room::of(&entry.transaction));
                }
            }
        }
        if found.covers(lacking) { Ok(victims) } else { Err(PoolError::Full) }
    }

    fn replace(&mut self, rivals: &BTreeSet<Hash>, entry: Entry) -> Vec<Effect> {
        let hash = entry.transaction.hash();
        self.quota.hold(&entry.transaction);
        let (removed, places) = self.graph.replace(rivals, entry);
        let mut effects = tell(places);
        for rival in removed {
            self.quota.release(&rival.transaction);
            effects.push(Effect::Tell(rival.transaction.hash(), Status::Usurped(hash)));
        }
        effects
    }

    /// Drops the lowest of those that wait while they are too many.
    fn shed_waiting(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.graph.count_waiting() > self.config.waiting_max {
            let lowest = self.graph.lowest_first().find(|(rank, ..)| rank.waits());
            let Some(hash) = lowest.map(|(_, entry)| entry.transaction.hash()) else { break };
            effects.extend(self.leave(&hash, Status::Dropped));
        }
        effects
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
                self.quota.release(&entry.transaction);
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
        self.quota.release(&entry.transaction);
        let mut effects = vec![Effect::Tell(*hash, status)];
        effects.extend(tell(demoted));
        effects
    }

    fn ban_if_final(&mut self, error: &PoolError, transaction: &Transaction) {
        if matches!(error.outlook(transaction.nature()), Outlook::Never | Outlook::Spent) {
            self.bans.add(transaction.hash(), self.height.saturating_add(self.config.ban_blocks));
        }
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

#[cfg(test)]
impl Pool {
    pub const fn graph(&self) -> &Graph {
        &self.graph
    }
}
