//! Keys and values of the positions so far, in pages of binary16, and attention over them.

use std::ops::Range;
use std::sync::Arc;

use crate::cpu::dispatched;
use crate::lanes;
use crate::matrix::Lanes;
use crate::memory::{Buffer, MemoryError};
use crate::reference::LANES;

/// Positions of a page. A multiple of sixteen and a divisor of a segment; small enough that a short answer
/// wastes little, large enough that a prefix worth sharing has whole pages.
pub const PAGE_POSITIONS: usize = 64;

/// Queries that a call of [`Cpu::attend`](crate::Cpu::attend) takes at the most.
pub const QUERIES_MAX: usize = 8;

const PAGE_TILES: usize = PAGE_POSITIONS / LANES;

/// What every page of a model holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    /// Layers with attention.
    pub layers: usize,
    /// Key-value heads of a layer.
    pub kv_heads: usize,
    /// Elements of a key and of a value.
    pub head_size: usize,
}

impl CacheShape {
    /// Bytes of a page; none when the number overflows.
    pub fn page_bytes(self) -> Option<usize> {
        let lanes = self.head_lanes()?.checked_mul(self.kv_heads)?.checked_mul(self.layers)?;
        lanes.checked_mul(size_of::<Lanes<u16>>())
    }

    /// Bytes of the pages that as many positions take; none when the number overflows.
    pub fn size_bytes(self, positions: usize) -> Option<usize> {
        self.page_bytes()?.checked_mul(positions.div_ceil(PAGE_POSITIONS))
    }

    /// Lines of sixteen that a head of a page takes: keys, then values.
    fn head_lanes(self) -> Option<usize> {
        self.head_size.checked_mul(PAGE_TILES)?.checked_add(PAGE_POSITIONS.checked_mul(self.value_lanes())?)
    }

    /// Lines of sixteen that a value takes.
    const fn value_lanes(self) -> usize {
        self.head_size.div_ceil(LANES)
    }
}

/// The keys and values of [`PAGE_POSITIONS`] consecutive positions, of all layers and heads.
#[derive(Debug)]
pub struct Page {
    shape: CacheShape,
    /// `[layer][kv head]`, each the keys, `[tile of 16 positions][dimension]`, so that a lane is a position, and
    /// the values, `[position][line of 16 dimensions]`.
    lanes: Buffer<Lanes<u16>>,
}

impl Page {
    /// A page of zeros.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn new(shape: CacheShape) -> Result<Self, MemoryError> {
        let lanes =
            shape.page_bytes().ok_or(MemoryError { size_bytes: usize::MAX })? / size_of::<Lanes<u16>>();
        Ok(Self { shape, lanes: Buffer::zeroed(lanes)? })
    }

    /// The heads of a layer, to be written.
    pub fn layer_mut(&mut self, layer: usize) -> impl Iterator<Item = HeadMut<'_>> {
        let shape = self.shape;
        let head = shape.head_lanes().unwrap_or(usize::MAX);
        let width = head * shape.kv_heads;
        let lanes = self.lanes[layer * width..][..width].chunks_exact_mut(head);
        lanes.map(move |lanes| {
            let (keys, values) = lanes.split_at_mut(shape.head_size * PAGE_TILES);
            HeadMut { head_size: shape.head_size, keys, values }
        })
    }

    fn head(&self, layer: usize, head: usize) -> (&[Lanes<u16>], &[Lanes<u16>]) {
        let lanes = self.shape.head_lanes().unwrap_or(usize::MAX);
        let lanes = &self.lanes[(layer * self.shape.kv_heads + head) * lanes..][..lanes];
        lanes.split_at(self.shape.head_size * PAGE_TILES)
    }
}

/// One head's part of a page, to be written.
#[derive(Debug)]
pub struct HeadMut<'a> {
    head_size: usize,
    pub(crate) keys: &'a mut [Lanes<u16>],
    pub(crate) values: &'a mut [Lanes<u16>],
}

impl HeadMut<'_> {
    /// Elements of a key and of a value.
    pub(crate) const fn head_size(&self) -> usize {
        self.head_size
    }
}

/// One head of one layer of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pages: &'a [Arc<Page>],
    layer: usize,
    head: usize,
    shape: CacheShape,
}

impl<'a> Head<'a> {
    /// The head of a sequence with these pages.
    ///
    /// # Panics
    /// When there is no page, or no such head.
    pub fn new(pages: &'a [Arc<Page>], layer: usize, head: usize) -> Self {
        let shape = pages[0].shape;
        assert!(layer < shape.layers && head < shape.kv_heads, "head {head} of layer {layer} of {shape:?}");
        Self { pages, layer, head, shape }
    }

    pub(crate) const fn head_size(&self) -> usize {
        self.shape.head_size
    }

    /// Positions for which there are pages.
    pub(crate) const fn positions(&self) -> usize {
        self.pages.len() * PAGE_POSITIONS
    }

    /// The keys of sixteen positions, `[dimension]`.
    #[inline(always)]
    pub(crate) fn keys(&self, tile: usize) -> &'a [Lanes<u16>] {
        let (keys, _) = self.pages[tile / PAGE_TILES].head(self.layer, self.head);
        &keys[tile % PAGE_TILES * self.shape.head_size..][..self.shape.head_size]
    }

    /// The values of sixteen positions, `[position][line]`.
    #[inline(always)]
    pub(crate) fn values(&self, tile: usize) -> &'a [Lanes<u16>] {
        let (_, values) = self.pages[tile / PAGE_TILES].head(self.layer, self.head);
        let width = self.shape.value_lanes() * LANES;
        &values[tile % PAGE_TILES * width..][..width]
    }
}

dispatched! {
    /// Writes the key and the value of a position of a page, rounded to binary16 (nearest, ties to even).
    ///
    /// # Panics
    /// When a length is not the head's size, or there is no such position.
    pub fn write_position(head: &mut HeadMut<'_>, position: usize, key: &[f32], value: &[f32]) =
        lanes::attention::write_position;

    /// Attention of up to [`QUERIES_MAX`] queries, one after the other in `queries`, each over the positions of its
    /// span; see [`attention`](crate::reference::attention).
    ///
    /// # Panics
    /// When a span is empty or goes beyond the pages, or a length does not fit.
    pub fn attend(queries: &[f32], head: Head<'_>, spans: &[Range<usize>], scale: f32, out: &mut [f32]) =
        lanes::attention::attend;
}
