//! What is sent and kept, held against bao-tree's own encoder and decoder.

use super::ranges::{encode, go_on, only, with_blob};
use super::*;
use crate::arrival::{Arrival, Then};
use crate::layout::PartialFile;
use crate::ranges::{CHUNK_GROUPS, GROUP};
use crate::tree::Subtree;
use bao_tree::io::outboard::PostOrderMemOutboard;
use bao_tree::io::sync::{DecodeResponseIter, encode_ranges_validated};
use bao_tree::io::{BaoContentItem, DecodeError, round_up_to_chunks};
use bao_tree::{BaoTree, ByteRanges, ChunkRanges};
use proptest::prelude::*;
use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::{ControlFlow, Range};

/// A blob with its hashes as bao-tree makes them.
struct Bao {
    bytes: Vec<u8>,
    outboard: PostOrderMemOutboard,
}

/// What came of an encoded range: where it was found wrong, if it was, and how many bytes were verified before.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    verified: Vec<u8>,
    corrupt: Option<u64>,
}

impl Bao {
    fn new(size: usize) -> Self {
        let bytes = noise(size, 5);
        let outboard = PostOrderMemOutboard::create(&bytes, GROUP);
        Self { bytes, outboard }
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn name(&self) -> Digest32 {
        Digest32::from_bytes(*self.outboard.root.as_bytes())
    }

    /// The range from one group to another.
    fn range(&self, groups: [u64; 2]) -> Range<u64> {
        let [a, b] = groups.map(|group| group % self.size().div_ceil(GROUP_BYTES));
        a.min(b) * GROUP_BYTES..self.size().min((a.max(b) + 1) * GROUP_BYTES)
    }

    fn encoded(&self, range: &Range<u64>) -> Vec<u8> {
        let mut encoded = Vec::new();
        encode_ranges_validated(&*self.bytes, &self.outboard, &chunks(range), &mut encoded).unwrap();
        encoded
    }

    fn decoded(&self, range: &Range<u64>, encoded: &[u8]) -> Came {
        let (chunks, tree) = (chunks(range), BaoTree::new(self.size(), GROUP));
        let mut came = Came { verified: Vec::new(), corrupt: None };
        for item in DecodeResponseIter::new(self.outboard.root, tree, encoded, &chunks) {
            match item {
                Ok(BaoContentItem::Leaf(leaf)) => came.verified.extend_from_slice(&leaf.data),
                Ok(BaoContentItem::Parent(_)) => {}
                Err(DecodeError::ParentHashMismatch(node)) => came.corrupt = Some(node.mid().to_bytes()),
                Err(DecodeError::LeafHashMismatch(chunk)) => came.corrupt = Some(chunk.to_bytes()),
                Err(_) => {}
            }
        }
        came
    }

    fn arrived(&self, range: &Range<u64>, mut encoded: impl BufRead) -> Came {
        let mut arrival = Arrival::new(Subtree::root(&self.name(), self.size()), range);
        let mut came = Came { verified: Vec::new(), corrupt: None };
        loop {
            let buffered = encoded.fill_buf().unwrap();
            if buffered.is_empty() {
                return came;
            }
            let verified = arrival.take(buffered);
            assert_eq!(verified.start, range.start + came.verified.len() as u64);
            came.verified.extend_from_slice(&verified.groups.concat());
            for (at, pair) in verified.pairs {
                assert_eq!(self.outboard.data[*at as usize..][..64], *pair, "only what is verified");
            }
            let (taken, then) = (verified.taken, verified.then);
            encoded.consume(taken);
            match then {
                Then::More => {}
                Then::End => return came,
                Then::Corrupt(at) => return Came { corrupt: Some(at), ..came },
            }
        }
    }
}

fn chunks(range: &Range<u64>) -> ChunkRanges {
    round_up_to_chunks(&ByteRanges::from(range.clone()))
}

/// Sizes of up to 200 groups, of which some end with a group and some are of one byte.
fn sizes() -> impl Strategy<Value = usize> {
    let group = GROUP_BYTES as usize;
    prop_oneof![1..group + 2, (1..70usize).prop_map(move |groups| groups * group), 1..200 * group]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_range_is_encoded_as_bao_tree_encodes_it(size in sizes(), groups in any::<[u64; 2]>()) {
        let (fixture, bao) = (Fixture::new(), Bao::new(size));
        let store = fixture.open();
        let manifest = import_dataset(&store, &fixture.write("blob", &bao.bytes)).unwrap();
        prop_assert_eq!(manifest.files()[0].blake3, bao.name());
        let range = bao.range(groups);
        let encoded = encode(&store.reader(&bao.name()).unwrap(), range.clone()).unwrap();
        prop_assert!(encoded == bao.encoded(&range));
    }

    #[test]
    fn ranges_in_any_order_and_portions_make_the_files_that_bao_tree_makes(
        size in sizes(),
        portion in prop_oneof![Just(1usize << 30), 1..100_000usize],
        ranges in prop::collection::vec(any::<[u64; 2]>(), 0..4),
    ) {
        let (fixture, bao) = (Fixture::new(), Bao::new(size));
        let store = fixture.open();
        let partial = store.partial(&bao.name(), bao.size()).unwrap();
        let mut ranges: Vec<_> = ranges.into_iter().map(|groups| bao.range(groups)).collect();
        ranges.push(0..bao.size());
        for range in &ranges {
            let encoded = bao.encoded(range);
            let source = BufReader::with_capacity(portion, &*encoded);
            let mut heard = Vec::new();
            let hear = |end| {
                heard.push(end);
                ControlFlow::Continue(())
            };
            prop_assert_eq!(partial.receive(range.clone(), source, hear).unwrap(), Received::Whole);
            let ends = (range.start..range.end).step_by(GROUP_BYTES as usize).skip(1);
            prop_assert_eq!(heard, ends.collect::<Vec<_>>());
            prop_assert!(partial.missing(range.clone()).is_empty());
        }
        let file = |kind| fs::read(store.layout.partial_path(&bao.name(), bao.size(), kind)).unwrap();
        prop_assert!(file(PartialFile::Data) == bao.bytes);
        prop_assert!(file(PartialFile::Outboard) == bao.outboard.data);
    }

    #[test]
    fn who_receives_expects_the_chunks_that_are_sent(size in sizes(), groups in any::<[u64; 2]>()) {
        let (fixture, bao) = (Fixture::new(), Bao::new(size));
        let (holder, sink) = (fixture.open(), Store::open(&fixture.dir.path().join("sink")).unwrap());
        import_dataset(&holder, &fixture.write("blob", &bao.bytes)).unwrap();
        let range = bao.range(groups);
        let reader = holder.reader(&bao.name()).unwrap();
        let mut sending = reader.encode(range.clone()).unwrap();
        let partial = sink.partial(&bao.name(), bao.size()).unwrap();
        let mut receiving = partial.begin(range.clone()).unwrap();
        let (mut received, mut came) = (None, range.start);
        while let Some(chunk) = sending.next_chunk(Vec::new()).unwrap() {
            prop_assert_eq!(received, None);
            prop_assert_eq!(receiving.chunk_bytes(), chunk.len());
            let mut rest = &*chunk;
            received = receiving.verify(&mut rest).keep(go_on).unwrap();
            prop_assert!(rest.is_empty());
            came = range.end.min(came + CHUNK_GROUPS as u64 * GROUP_BYTES);
        }
        prop_assert_eq!((received, came), (Some(Received::Whole), range.end));
        prop_assert_eq!(receiving.chunk_bytes(), 0);
    }

    #[test]
    fn what_came_counts_when_the_rest_is_not_waited_for(
        size in sizes(),
        groups in any::<[u64; 2]>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (fixture, bao) = (Fixture::new(), Bao::new(size));
        let store = fixture.open();
        let partial = store.partial(&bao.name(), bao.size()).unwrap();
        let range = bao.range(groups);
        let encoded = bao.encoded(&range);
        let cut = &encoded[..cut.index(encoded.len())];
        let mut receiving = partial.begin(range.clone()).unwrap();
        let mut rest = cut;
        while !rest.is_empty() {
            prop_assert_eq!(receiving.verify(&mut rest).keep(go_on).unwrap(), None);
        }
        drop(receiving);
        let verified = bao.decoded(&range, cut).verified.len() as u64;
        let missing = partial.missing(range.clone());
        prop_assert_eq!(missing, only(range.start + verified..range.end));
    }

    #[test]
    fn an_altered_byte_is_refused_where_bao_tree_refuses_it(
        size in sizes(),
        groups in any::<[u64; 2]>(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
        portion in prop_oneof![Just(1usize << 30), 1..100_000usize],
    ) {
        let bao = Bao::new(size);
        let range = bao.range(groups);
        let mut encoded = bao.encoded(&range);
        let at = at.index(encoded.len());
        encoded[at] ^= 1 << bit;
        let expected = bao.decoded(&range, &encoded);
        prop_assert!(expected.corrupt.is_some());
        let fixture = Fixture::new();
        let store = fixture.open();
        let partial = store.partial(&bao.name(), bao.size()).unwrap();
        let refused = partial.receive(range.clone(), BufReader::with_capacity(portion, &*encoded), go_on);
        let corrupt = match refused {
            Err(ReceiveError::Corrupt { at, .. }) => Some(at),
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(corrupt, expected.corrupt);
        let end = range.start + expected.verified.len() as u64;
        prop_assert_eq!(partial.missing(range.clone()), if end < range.end { only(end..range.end) } else { Vec::new() });
        let data = fs::read(store.layout.partial_path(&bao.name(), bao.size(), PartialFile::Data)).unwrap();
        prop_assert!(data[range.start as usize..end as usize] == expected.verified);
        prop_assert!(data[end as usize..range.end as usize].iter().all(|byte| *byte == 0), "the rest is not written");
    }

    #[test]
    fn a_range_that_is_cut_off_keeps_its_whole_groups(
        size in sizes(),
        groups in any::<[u64; 2]>(),
        end in any::<prop::sample::Index>(),
        portion in prop_oneof![Just(1usize << 30), 1..100_000usize],
    ) {
        let bao = Bao::new(size);
        let range = bao.range(groups);
        let encoded = bao.encoded(&range);
        let encoded = &encoded[..end.index(encoded.len())];
        let arrived = bao.arrived(&range, BufReader::with_capacity(portion, encoded));
        prop_assert_eq!(arrived, bao.decoded(&range, encoded));
    }
}

#[test]
fn every_altered_byte_is_refused_where_bao_tree_refuses_it() {
    let bao = Bao::new(2 * GROUP_BYTES as usize + 1_500);
    let range = 0..bao.size();
    let mut encoded = bao.encoded(&range);
    for at in 0..encoded.len() {
        encoded[at] ^= 0x10;
        assert_eq!(bao.arrived(&range, &*encoded), bao.decoded(&range, &encoded), "{at}");
        encoded[at] ^= 0x10;
    }
}

/// Gives so many bytes at a time, and notes how often more was waited for.
struct Portions<'a> {
    encoded: &'a [u8],
    portion: usize,
    left: usize,
    before_waiting: &'a dyn Fn(usize),
}

impl Read for Portions<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(into)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Portions<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            (self.before_waiting)(self.encoded.len());
            self.left = self.portion.min(self.encoded.len());
        }
        Ok(&self.encoded[..self.left])
    }

    fn consume(&mut self, bytes: usize) {
        self.encoded = &self.encoded[bytes..];
        self.left -= bytes;
    }
}

#[test]
fn what_has_come_is_verified_and_told_of_before_more_is_waited_for() {
    let fixture = Fixture::new();
    let (store, blob, bytes) = with_blob(&fixture, 9 * GROUP_BYTES as usize);
    let (size, bao) = (bytes.len() as u64, PostOrderMemOutboard::create(&bytes, GROUP));
    let mut encoded = Vec::new();
    encode_ranges_validated(&*bytes, &bao, &chunks(&(0..size)), &mut encoded).unwrap();
    let other = Fixture::new();
    // The first portion of the second size ends with a group, behind the four pairs that lead to it.
    for portion in [1_000, 4 * 64 + GROUP_BYTES as usize, 40_000] {
        let heard = Cell::new(0);
        let before_waiting = |left: usize| {
            let came = &encoded[..encoded.len() - left];
            let tree = BaoTree::new(size, GROUP);
            let all = chunks(&(0..size));
            let items = DecodeResponseIter::new(bao.root, tree, came, &all).map_while(Result::ok);
            let whole: u64 = items
                .map(|item| if let BaoContentItem::Leaf(leaf) = item { leaf.data.len() as u64 } else { 0 })
                .sum();
            assert_eq!(heard.get(), whole, "{portion}");
        };
        let source = Portions { encoded: &encoded, portion, left: 0, before_waiting: &before_waiting };
        let partial = other.open().partial(&blob, size).unwrap();
        let hear = |end| {
            heard.set(end);
            ControlFlow::Continue(())
        };
        assert_eq!(partial.receive(0..size, source, hear).unwrap(), Received::Whole);
    }
    drop(store);
}

#[test]
fn whoever_stops_in_the_middle_has_claimed_up_to_there() {
    let bao = Bao::new(200 * GROUP_BYTES as usize + 9);
    let (fixture, range) = (Fixture::new(), 3 * GROUP_BYTES..bao.size());
    let store = fixture.open();
    let partial = store.partial(&bao.name(), bao.size()).unwrap();
    for stop in [4, 63, 64, 65, 199] {
        let end = stop * GROUP_BYTES;
        let watch = |at| if at >= end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let received = partial.receive(range.clone(), &*bao.encoded(&range), watch).unwrap();
        assert_eq!(received, Received::Stopped);
        assert_eq!(partial.missing(range.clone()), only(end..bao.size()), "{stop}");
    }
}

#[test]
fn every_mebibyte_is_claimed_while_more_comes() {
    let bao = Bao::new(3 * CLAIM_BYTES as usize + 9);
    let (fixture, range) = (Fixture::new(), 0..bao.size());
    let store = fixture.open();
    let partial = store.partial(&bao.name(), bao.size()).unwrap();
    let watch = |end| {
        assert_eq!(partial.missing(range.clone()), only(end - end % CLAIM_BYTES..bao.size()));
        ControlFlow::Continue(())
    };
    partial.receive(range.clone(), &*bao.encoded(&range), watch).unwrap();
    assert!(partial.missing(range).is_empty());
}
