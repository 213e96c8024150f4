//! How the queries of a pass are shared out, and the keys and values that they meet are written.

use std::ops::Range;
use std::sync::Arc;

use assay_kernels::cache::HeadMut;
use assay_kernels::{Page, QUERIES_MAX};

/// Up to [`QUERIES_MAX`] queries of one sequence that share a key-value head.
pub(crate) struct Chunk {
    /// Which sequence's.
    pub part: usize,
    pub kv_head: usize,
    /// Which of those queries: of the part's first row all that share the head, then of the second, …
    pub queries: Range<usize>,
}

/// How queries are cut into chunks.
pub(crate) struct Chunks {
    all: Vec<Chunk>,
    /// The first chunk of each part, and chunks of one of its heads.
    parts: Vec<(usize, usize)>,
    sharing: usize,
}

impl Chunks {
    /// The chunks of sequences with so many rows each.
    pub fn new(heads: usize, kv_heads: usize, rows: impl Iterator<Item = usize>) -> Self {
        let sharing = heads / kv_heads;
        let mut chunks = Self { all: Vec::new(), parts: Vec::new(), sharing };
        for (part, rows) in rows.enumerate() {
            let queries = rows * sharing;
            chunks.parts.push((chunks.all.len(), queries.div_ceil(QUERIES_MAX)));
            for kv_head in 0..kv_heads {
                chunks.all.extend((0..queries).step_by(QUERIES_MAX).map(|first| {
                    let queries = first..queries.min(first + QUERIES_MAX);
                    Chunk { part, kv_head, queries }
                }));
            }
        }
        chunks
    }

    pub fn all(&self) -> &[Chunk] {
        &self.all
    }

    /// Query heads that share a key-value head.
    pub const fn sharing(&self) -> usize {
        self.sharing
    }

    /// Where a head of a row stands, a row being one of a part's: its chunk, and its place there.
    pub fn place(&self, (part, index): (usize, usize), head: usize) -> (usize, usize) {
        let (first, per_head) = self.parts[part];
        let query = index * self.sharing + head % self.sharing;
        (first + head / self.sharing * per_head + query / QUERIES_MAX, query % QUERIES_MAX)
    }
}

/// The parts of consecutive pages that belong to each head of a layer.
pub(crate) fn layer_heads(pages: &mut [Arc<Page>], layer: usize, kv_heads: usize) -> Vec<Vec<HeadMut<'_>>> {
    let mut heads: Vec<Vec<_>> = (0..kv_heads).map(|_| Vec::new()).collect();
    for page in pages {
        // Pages are shared when they are full, and written before.
        let Some(page) = Arc::get_mut(page) else { unreachable!("a page that is written is not shared") };
        heads.iter_mut().zip(page.layer_mut(layer)).for_each(|(head, of_page)| head.push(of_page));
    }
    heads
}
