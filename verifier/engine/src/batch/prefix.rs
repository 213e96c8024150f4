//! Pages of sequences that have ended, for those that begin alike.
//!
//! A page is found by the tokens of its positions and of all before them, so it holds just what computing them
//! anew would give. Whoever begins like another is answered sooner, and can tell so by the clock.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use assay_kernels::{PAGE_POSITIONS, Page};
use assay_manifest::{Digest32, TaggedHash};

use crate::model::Model;

/// Full pages, up to a number of bytes; the longest unused go first.
pub(crate) struct Prefixes {
    bytes_max: usize,
    bytes: usize,
    /// Counts uses.
    clock: u64,
    entries: HashMap<Digest32, Entry>,
}

struct Entry {
    model: Weak<Model>,
    page: Arc<Page>,
    /// [`layers_root`](assay_protocol::trace::layers_root) of each position.
    roots: Vec<Digest32>,
    used: u64,
    bytes: usize,
}

/// What a sequence begins with.
#[derive(Default)]
pub(crate) struct Prefix {
    pub pages: Vec<Arc<Page>>,
    /// One for each position of the pages.
    pub roots: Vec<Digest32>,
}

impl Prefixes {
    /// Room for as many bytes; none keeps nothing.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, clock: 0, entries: HashMap::new() }
    }

    /// The pages that a sequence with these tokens can begin with.
    pub fn find(&mut self, model: &Arc<Model>, tokens: &[u32]) -> Prefix {
        let mut prefix = Prefix::default();
        self.clock += 1;
        for key in keys(model, tokens) {
            let Some(entry) = self.entries.get_mut(&key) else { break };
            if !std::ptr::eq(entry.model.as_ptr(), Arc::as_ptr(model)) {
                break;
            }
            entry.used = self.clock;
            prefix.pages.push(Arc::clone(&entry.page));
            prefix.roots.extend_from_slice(&entry.roots);
        }
        prefix
    }

    /// Keeps the full pages of a sequence: its tokens, its pages, and a root for each of its positions.
    pub fn keep(&mut self, model: &Arc<Model>, tokens: &[u32], pages: &[Arc<Page>], roots: &[Digest32]) {
        let Some(bytes) = model.config().cache_shape().page_bytes().filter(|bytes| *bytes <= self.bytes_max)
        else {
            return;
        };
        self.clock += 1;
        let pages = pages.iter().zip(roots.chunks_exact(PAGE_POSITIONS));
        for (key, (page, roots)) in keys(model, tokens).into_iter().zip(pages) {
            let (used, clock) = (self.clock, self.clock);
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.used = clock;
                continue;
            }
            self.make_room(bytes);
            let (model, page, roots) = (Arc::downgrade(model), Arc::clone(page), roots.to_vec());
            self.entries.insert(key, Entry { model, page, roots, used, bytes });
            self.bytes += bytes;
        }
    }

    /// Lets go of pages until as many bytes more fit.
    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > self.bytes_max {
            // Those of models that are gone come first.
            let rank = |entry: &Entry| (entry.model.strong_count() > 0, entry.used);
            let Some(key) = self.entries.iter().min_by_key(|(_, entry)| rank(entry)).map(|(key, _)| *key)
            else {
                return;
            };
            self.bytes -= self.entries.remove(&key).map_or(0, |entry| entry.bytes);
        }
    }
}

/// A key for each full page of a sequence.
fn keys(model: &Arc<Model>, tokens: &[u32]) -> Vec<Digest32> {
    let mut key = TaggedHash::new("assay/prefix/1").u64(Arc::as_ptr(model).addr() as u64).finish();
    let pages = tokens.as_chunks::<PAGE_POSITIONS>().0;
    let next = |page: &[u32; PAGE_POSITIONS]| {
        let hash = TaggedHash::new("assay/prefix/1").digest(&key);
        key = page.iter().fold(hash, |hash, token| hash.u32(*token)).finish();
        key
    };
    pages.iter().map(next).collect()
}
