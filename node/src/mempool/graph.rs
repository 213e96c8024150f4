//! Who waits for whom: transactions by the tags that they provide and require.

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

struct Node {
    entry: Entry,
    place: Place,
}

/// Every tag is provided by at most one transaction; no transaction names a tag twice.
#[derive(Default)]
pub(super) struct Graph {
    nodes: HashMap<Hash, Node>,
    providers: HashMap<TransactionTag, Hash>,
    waiting: HashMap<TransactionTag, BTreeSet<Hash>>,
}

impl Graph {
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn count_ready(&self) -> usize {
        self.nodes.values().filter(|node| node.place == Place::Ready).count()
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

    /// Whether another transaction provides one of these tags.
    pub fn is_taken(&self, provides: &[TransactionTag]) -> bool {
        provides.iter().any(|tag| self.providers.contains_key(tag))
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
        self.nodes.insert(hash, Node { entry, place: Place::Future });
        let promoted = self.promote(vec![hash]);
        if promoted.is_empty() { vec![(hash, Place::Future)] } else { promoted }
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
        let promoted = self.promote(freed);
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
        self.promote(vec![*hash])
    }

    fn take(&mut self, hash: &Hash) -> Option<Entry> {
        let Node { entry, .. } = self.nodes.remove(hash)?;
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
        demoted
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
        if let Some(node) = self.nodes.get_mut(hash) {
            node.place = place;
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
    arrival: std::cmp::Reverse<u64>,
    hash: Hash,
}

impl Candidate {
    fn new(entry: &Entry) -> Self {
        let arrival = std::cmp::Reverse(entry.arrival);
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
