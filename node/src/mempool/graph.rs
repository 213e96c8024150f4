//! Who waits for whom: transactions by the tags that they provide and require.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use assay_runtime::{AccountId, Hash};
use sp_runtime::transaction_validity::{TransactionTag, ValidTransaction};

use super::Transaction;

/// A valid transaction.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub transaction: Transaction,
    pub validity: ValidTransaction,
    /// Height of the state on which it was last found valid.
    pub checked_at: u32,
    /// Height at which it came in.
    pub since: u32,
    /// Place in the order of arrival.
    pub arrival: u64,
}

impl Entry {
    /// Whether its validity has ended before `height`.
    pub fn expired(&self, height: u32) -> bool {
        u64::from(self.checked_at).saturating_add(self.validity.longevity) < u64::from(height)
    }
}

/// Whether a transaction could be in the next block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// All that it requires is provided by transactions that could be there too.
    Ready,
    /// It waits for another one.
    Future,
}

/// In which order transactions leave a full pool: the lowest first.
///
/// A transaction has the least priority of all that it requires and itself, since it cannot go before them. So
/// nobody keeps a place by a high tip on what may never come into a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    kind: Kind,
    priority: u64,
    /// Among equals the latest leaves first.
    arrival: Reverse<u64>,
}

impl Rank {
    /// Whether it is that of a transaction that waits for a predecessor.
    pub fn waits(self) -> bool {
        self.kind == Kind::Waiting
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Its predecessor may never come.
    Waiting,
    Paid,
    /// A job step: somebody loses money when it is late.
    Step,
}

struct Node {
    entry: Entry,
    place: Place,
    rank: Rank,
}

/// Every tag is provided by at most one transaction; no transaction names a tag twice.
#[derive(Default)]
pub(super) struct Graph {
    nodes: HashMap<Hash, Node>,
    providers: HashMap<TransactionTag, Hash>,
    waiting: HashMap<TransactionTag, BTreeSet<Hash>>,
    ranks: BTreeSet<(Rank, Hash)>,
    ready: usize,
}

impl Graph {
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub const fn count_ready(&self) -> usize {
        self.ready
    }

    pub fn count_waiting(&self) -> usize {
        self.len().saturating_sub(self.ready)
    }

    pub fn get(&self, hash: &Hash) -> Option<&Entry> {
        self.nodes.get(hash).map(|node| &node.entry)
    }

    pub fn place(&self, hash: &Hash) -> Option<Place> {
        self.nodes.get(hash).map(|node| node.place)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Entry, Place)> {
        self.nodes.values().map(|node| (&node.entry, node.place))
    }

    /// Transactions that provide one of these tags.
    pub fn providers_of(&self, provides: &[TransactionTag]) -> BTreeSet<Hash> {
        provides.iter().filter_map(|tag| self.providers.get(tag)).copied().collect()
    }

    /// Transactions from the lowest rank on, in the order in which they make room.
    pub fn lowest_first(&self) -> impl Iterator<Item = (Rank, &Entry)> {
        self.ranks.iter().filter_map(|(rank, hash)| Some((*rank, self.get(hash)?)))
    }

    /// The rank that a transaction has, or would have.
    pub fn rank_of(&self, entry: &Entry) -> Rank {
        let Entry { transaction, validity, arrival, .. } = entry;
        let kind = match transaction.signer() {
            None => Kind::Step,
            Some(_) if self.has_all(&validity.requires) => Kind::Paid,
            Some(_) => Kind::Waiting,
        };
        let required = self.providers_of(&validity.requires);
        let least =
            required.iter().filter_map(|hash| self.nodes.get(hash)).map(|node| node.rank.priority).min();
        let priority = match kind {
            Kind::Paid => validity.priority.min(least.unwrap_or(u64::MAX)),
            Kind::Waiting => validity.priority,
            // No step counts more than another.
            Kind::Step => u64::MAX,
        };
        Rank { kind, priority, arrival: Reverse(*arrival) }
    }

    /// Everything that depends on a transaction, directly or not.
    pub fn dependants_of(&self, hash: &Hash) -> BTreeSet<Hash> {
        let mut found = BTreeSet::new();
        let mut next = vec![*hash];
        while let Some(hash) = next.pop() {
            let Some(node) = self.nodes.get(&hash) else { continue };
            let waiting = self.waiting_for(&node.entry.validity.provides);
            next.extend(waiting.into_iter().filter(|hash| found.insert(*hash)));
        }
        found
    }

    /// Tags that an account's transactions provide.
    pub fn tags_of(&self, account: &AccountId) -> Vec<TransactionTag> {
        let entries = self.nodes.values().map(|node| &node.entry);
        let own = entries.filter(|entry| entry.transaction.signer() == Some(account));
        own.flat_map(|entry| entry.validity.provides.iter().cloned()).collect()
    }

    /// Adds a transaction whose tags are free; returns all whose place is new, itself first.
    pub fn insert(&mut self, entry: Entry) -> Vec<(Hash, Place)> {
        let hash = entry.transaction.hash();
        for tag in &entry.validity.provides {
            self.providers.insert(tag.clone(), hash);
        }
        for tag in &entry.validity.requires {
            self.waiting.entry(tag.clone()).or_default().insert(hash);
        }
        let rank = self.rank_of(&entry);
        self.ranks.insert((rank, hash));
        self.nodes.insert(hash, Node { entry, place: Place::Future, rank });
        let promoted = self.promote(vec![hash]);
        if promoted.is_empty() { vec![(hash, Place::Future)] } else { promoted }
    }

    /// Puts a transaction into the place of others; returns all whose place has changed, itself first.
    pub fn replace(&mut self, others: &BTreeSet<Hash>, entry: Entry) -> (Vec<Entry>, Vec<(Hash, Place)>) {
        let (mut removed, mut demoted) = (Vec::new(), Vec::new());
        for other in others {
            if let Some((entry, waiting)) = self.remove(other) {
                removed.push(entry);
                demoted.extend(waiting);
            }
        }
        let mut changed = self.insert(entry);
        // What waited for the others and goes with the newcomer has not moved.
        let lost = demoted.iter().filter(|(hash, _)| self.place(hash) == Some(Place::Future)).copied();
        let lost: Vec<_> = lost.collect();
        changed.retain(|(hash, _)| !demoted.iter().any(|(other, _)| other == hash));
        changed.extend(lost);
        (removed, changed)
    }

    /// Takes a transaction out that is not in a block; returns it and those that wait again because of it.
    pub fn remove(&mut self, hash: &Hash) -> Option<(Entry, Vec<(Hash, Place)>)> {
        let entry = self.take(hash)?;
        let demoted = self.demote(entry.validity.provides.clone());
        Some((entry, demoted))
    }

    /// Takes a transaction out that is in a block: what it provides is on the ledger now.
    pub fn include(&mut self, hash: &Hash) -> Option<(Entry, Vec<(Hash, Place)>)> {
        let entry = self.take(hash)?;
        let mut freed = Vec::new();
        for tag in &entry.validity.provides {
            for waiting in self.waiting.remove(tag).unwrap_or_default() {
                if let Some(node) = self.nodes.get_mut(&waiting) {
                    node.entry.validity.requires.retain(|required| required != tag);
                    freed.push(waiting);
                }
            }
        }
        let promoted = self.promote(freed.clone());
        self.rerank(freed);
        Some((entry, promoted))
    }

    /// Takes over what a new check says about a transaction that is here and provides the same as before.
    ///
    /// What it requires only becomes less: the check may have seen an older state than the last block that was
    /// counted here, and what a block has provided stays provided.
    pub fn refresh(
        &mut self,
        hash: &Hash,
        mut validity: ValidTransaction,
        checked_at: u32,
    ) -> Vec<(Hash, Place)> {
        let Some(node) = self.nodes.get_mut(hash) else { return Vec::new() };
        let entry = &mut node.entry;
        let (open, met): (Vec<_>, Vec<_>) =
            entry.validity.requires.drain(..).partition(|tag| validity.requires.contains(tag));
        validity.requires = open;
        entry.validity = validity;
        entry.checked_at = entry.checked_at.max(checked_at);
        for tag in met {
            forget(&mut self.waiting, &tag, hash);
        }
        let promoted = self.promote(vec![*hash]);
        self.rerank(vec![*hash]);
        promoted
    }

    fn take(&mut self, hash: &Hash) -> Option<Entry> {
        let Node { entry, place, rank } = self.nodes.remove(hash)?;
        self.ranks.remove(&(rank, *hash));
        self.ready = self.ready.saturating_sub(usize::from(place == Place::Ready));
        for tag in &entry.validity.provides {
            self.providers.remove(tag);
        }
        for tag in &entry.validity.requires {
            forget(&mut self.waiting, tag, hash);
        }
        Some(entry)
    }

    fn promote(&mut self, mut candidates: Vec<Hash>) -> Vec<(Hash, Place)> {
        let mut promoted = Vec::new();
        while let Some(hash) = candidates.pop() {
            let Some(node) = self.nodes.get(&hash) else { continue };
            if node.place == Place::Ready || !self.has_all(&node.entry.validity.requires) {
                continue;
            }
            candidates.extend(self.waiting_for(&node.entry.validity.provides));
            self.set_place(&hash, Place::Ready);
            promoted.push((hash, Place::Ready));
        }
        self.rerank(promoted.iter().map(|(hash, _)| *hash).collect());
        promoted
    }

    fn demote(&mut self, mut lost: Vec<TransactionTag>) -> Vec<(Hash, Place)> {
        let mut demoted = Vec::new();
        while let Some(tag) = lost.pop() {
            for hash in self.waiting_for(&[tag]) {
                let Some(node) = self.nodes.get(&hash) else { continue };
                if node.place == Place::Ready {
                    lost.extend(node.entry.validity.provides.iter().cloned());
                    self.set_place(&hash, Place::Future);
                    demoted.push((hash, Place::Future));
                }
            }
        }
        self.rerank(demoted.iter().map(|(hash, _)| *hash).collect());
        demoted
    }

    /// Brings ranks up to date, also of what depends on those that change.
    fn rerank(&mut self, mut next: Vec<Hash>) {
        while let Some(hash) = next.pop() {
            let Some(rank) = self.nodes.get(&hash).map(|node| self.rank_of(&node.entry)) else { continue };
            let Some(node) = self.nodes.get_mut(&hash) else { continue };
            if node.rank == rank {
                continue;
            }
            self.ranks.remove(&(node.rank, hash));
            self.ranks.insert((rank, hash));
            node.rank = rank;
            let provides = node.entry.validity.provides.clone();
            next.extend(self.waiting_for(&provides));
        }
    }

    fn has_all(&self, requires: &[TransactionTag]) -> bool {
        requires.iter().all(|tag| {
            let provider = self.providers.get(tag);
            provider.and_then(|hash| self.place(hash)) == Some(Place::Ready)
        })
    }

    fn waiting_for(&self, tags: &[TransactionTag]) -> Vec<Hash> {
        tags.iter().filter_map(|tag| self.waiting.get(tag)).flatten().copied().collect()
    }

    fn set_place(&mut self, hash: &Hash, place: Place) {
        let Some(node) = self.nodes.get_mut(hash) else { return };
        node.place = place;
        match place {
            Place::Ready => self.ready += 1,
            Place::Future => self.ready = self.ready.saturating_sub(1),
        }
    }

    /// Ready transactions as a block takes them: each after all that it requires, then by priority, then by
    /// arrival.
    pub fn in_block_order(&self) -> BlockOrder<'_> {
        let free = self.nodes.values().filter(|node| node.entry.validity.requires.is_empty());
        let heap = free.map(|node| Candidate::new(&node.entry)).collect();
        BlockOrder { graph: self, heap, met: HashMap::new() }
    }
}

fn forget(waiting: &mut HashMap<TransactionTag, BTreeSet<Hash>>, tag: &TransactionTag, hash: &Hash) {
    if let Some(hashes) = waiting.get_mut(tag) {
        hashes.remove(hash);
        if hashes.is_empty() {
            waiting.remove(tag);
        }
    }
}

/// The higher priority first; among equals the one that came first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    priority: u64,
    arrival: Reverse<u64>,
    hash: Hash,
}

impl Candidate {
    fn new(entry: &Entry) -> Self {
        let arrival = Reverse(entry.arrival);
        Self { priority: entry.validity.priority, arrival, hash: entry.transaction.hash() }
    }
}

/// See [`Graph::in_block_order`].
pub(super) struct BlockOrder<'a> {
    graph: &'a Graph,
    heap: BinaryHeap<Candidate>,
    /// How many of its required tags earlier transactions have provided.
    met: HashMap<Hash, usize>,
}

impl<'a> Iterator for BlockOrder<'a> {
    type Item = &'a Transaction;

    fn next(&mut self) -> Option<Self::Item> {
        let hash = self.heap.pop()?.hash;
        let entry = self.graph.get(&hash)?;
        for waiting in self.graph.waiting_for(&entry.validity.provides) {
            let met = self.met.entry(waiting).or_default();
            *met += 1;
            if let Some(next) = self.graph.get(&waiting)
                && next.validity.requires.len() == *met
            {
                self.heap.push(Candidate::new(next));
            }
        }
        Some(&entry.transaction)
    }
}
