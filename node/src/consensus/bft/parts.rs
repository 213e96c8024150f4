//! How a block travels to those who vote on it: an opening that its proposer signed, then pieces of its bytes.
//!
//! Anybody can send parts, and parts of one stream may come by different ways and in any order. The opening names the
//! hash of every piece, so that what others put into a stream, or behind an opening that they repeat, is found out piece
//! by piece, and streams of one opening fill one block together. What comes before its opening waits within bounds, and
//! is the first to go.

use std::collections::BTreeMap;

use assay_manifest::Digest32;
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use malachite_core_types as core_types;
use malachite_core_types::Round;
use malachite_engine::util::streaming::{StreamContent, StreamId, StreamMessage};

use super::context::{BlockHash, Chain, Height, ValidatorKey, VoteSignature};

/// Bytes of a piece: large enough that a full block has few, small enough for a gossip message.
const PIECE_BYTES: usize = 128 * 1024;
/// Bytes of an encoded block: what the runtime allows its transactions, and some for header and lengths.
pub const BLOCK_BYTES_MAX: usize = (2 << 20) + (64 << 10);
/// Pieces of the largest block.
const PIECES_MAX: u64 = BLOCK_BYTES_MAX.div_ceil(PIECE_BYTES) as u64;
/// Streams that one publisher may have unfinished: two rounds, and one that was cut off in each.
const STREAMS_PER_PUBLISHER_MAX: usize = 4;
/// Unfinished streams in all.
const STREAMS_MAX: usize = 256;
/// Bytes of pieces that wait for their opening.
const WAITING_BYTES_MAX: usize = 4 * BLOCK_BYTES_MAX;
/// Openings of one round: an honest proposer signs one, and a second one proves that it is not.
const OPENINGS_PER_ROUND_MAX: usize = 2;
/// Blocks that are not whole; of more, the oldest goes.
const BLOCKS_MAX: usize = 16;

/// A part of a proposed block.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Part {
    /// The first one.
    Opening(Opening),
    /// The next bytes of the encoded block.
    Piece(Vec<u8>),
}

/// What a proposer signs of a block that it sends.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Opening {
    /// Height of the block.
    pub height: Height,
    /// The round in which it is proposed.
    pub round: Round,
    /// Who proposes it.
    pub proposer: ValidatorKey,
    /// The block's hash.
    pub value: BlockHash,
    /// The bytes that follow.
    pub contents: Contents,
    /// The proposer's, under all of this.
    pub signature: VoteSignature,
}

/// The bytes of an encoded block, as they can be checked one piece after the other.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Contents {
    /// How many bytes.
    pub size_bytes: u32,
    /// BLAKE3 of every piece, in their order.
    pub pieces: Vec<[u8; 32]>,
}

impl Contents {
    /// Those of a block.
    pub fn of(block: &[u8]) -> Self {
        let pieces = block.chunks(PIECE_BYTES).map(|piece| *blake3::hash(piece).as_bytes());
        Self { size_bytes: u32::try_from(block.len()).unwrap_or(u32::MAX), pieces: pieces.collect() }
    }

    /// BLAKE3 of all hashes: what a signature is under.
    pub fn digest(&self) -> Digest32 {
        let mut hash = blake3::Hasher::new();
        self.pieces.iter().for_each(|piece| {
            hash.update(piece);
        });
        Digest32::from_bytes(*hash.finalize().as_bytes())
    }

    /// Whether a block can have them.
    fn is_possible(&self) -> bool {
        let size = usize::try_from(self.size_bytes).unwrap_or(usize::MAX);
        (1..=BLOCK_BYTES_MAX).contains(&size) && self.pieces.len() == size.div_ceil(PIECE_BYTES)
    }
}

impl core_types::ProposalPart<Chain> for Part {
    fn is_first(&self) -> bool {
        matches!(self, Self::Opening(_))
    }

    /// A stream says itself where it ends.
    fn is_last(&self) -> bool {
        false
    }
}

/// A block as a stream of parts.
pub fn split(stream: Bytes, opening: Opening, block: &[u8]) -> Vec<StreamMessage<Part>> {
    let pieces = block.chunks(PIECE_BYTES).map(|piece| Part::Piece(piece.to_vec()));
    let parts = std::iter::once(Part::Opening(opening)).chain(pieces).map(StreamContent::Data);
    let contents = parts.chain(std::iter::once(StreamContent::Fin));
    let id = StreamId::new(stream);
    (0..).zip(contents).map(|(sequence, content)| StreamMessage::new(id.clone(), sequence, content)).collect()
}

/// A part that no honest proposer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartFault {
    /// It comes after the last that its block has, or any block can have.
    #[error("a part has number {0}, beyond its block")]
    Sequence(u64),
    /// A piece is longer than pieces are, or empty.
    #[error("a piece has {0} bytes")]
    PieceSize(usize),
    /// A piece is not what the opening says.
    #[error("piece {0} is not the one that was announced")]
    OtherPiece(u64),
    /// The opening is not the first part, or the first part is none.
    #[error("a stream does not begin with its opening")]
    Order,
    /// The opening announces an impossible size.
    #[error("a block of {0} bytes is announced, or not as many pieces as it has")]
    BlockSize(u32),
    /// The opening is refused.
    #[error("the opening is not by the round's proposer")]
    Opening,
    /// The proposer has opened other blocks in this round.
    #[error("the proposer has opened {OPENINGS_PER_ROUND_MAX} other blocks in this round")]
    Openings,
}

/// Blocks that are not whole yet, and the streams in which they come.
#[derive(Debug)]
pub struct Assembly<P> {
    blocks: BTreeMap<u64, Arriving>,
    streams: BTreeMap<(P, Bytes), Stream>,
    /// Bytes of pieces that wait.
    waiting_bytes: usize,
    /// Blocks and streams so far: the age of each.
    begun: u64,
}

/// A block whose opening is here.
#[derive(Debug)]
struct Arriving {
    opening: Opening,
    pieces: BTreeMap<u64, Vec<u8>>,
}

#[derive(Debug)]
struct Stream {
    age: u64,
    /// The block that it fills.
    block: Option<u64>,
    /// Pieces that came before the opening.
    waiting: BTreeMap<u64, Vec<u8>>,
}

impl<P> Default for Assembly<P> {
    fn default() -> Self {
        Self { blocks: BTreeMap::new(), streams: BTreeMap::new(), waiting_bytes: 0, begun: 0 }
    }
}

impl<P: Ord + Clone> Assembly<P> {
    /// Takes a part; gives the block when it was the last that lacked. `accepts` judges openings.
    ///
    /// # Errors
    /// [`PartFault`] when nobody honest sends it; its stream is forgotten.
    pub fn receive(
        &mut self,
        publisher: P,
        message: StreamMessage<Part>,
        accepts: impl FnOnce(&Opening) -> bool,
    ) -> Result<Option<(Opening, Vec<u8>)>, PartFault> {
        if matches!(message.content, StreamContent::Fin) {
            // The opening says how many pieces there are.
            return if message.sequence == 0 { Err(PartFault::Order) } else { Ok(None) };
        }
        let key = (publisher, message.stream_id.to_bytes());
        if !self.streams.contains_key(&key) {
            self.make_room(&key.0);
            let age = self.next_age();
            self.streams.insert(key.clone(), Stream { age, block: None, waiting: BTreeMap::new() });
        }
        let taken = self.take(&key, message, accepts);
        match &taken {
            Ok(Some(block)) => return Ok(self.finish(*block)),
            Ok(None) => self.shrink(),
            Err(_) => self.forget(&key),
        }
        taken.map(|_| None)
    }

    /// Whether there is nothing.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.blocks.is_empty()
    }

    /// Forgets the blocks of heights that are decided.
    pub fn decided(&mut self, height: Height) {
        let over = self.blocks.iter().filter(|(_, block)| block.opening.height <= height);
        let over: Vec<_> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.forget_block(id);
        }
    }

    /// Takes a part; says which block has become whole by it.
    fn take(
        &mut self,
        key: &(P, Bytes),
        message: StreamMessage<Part>,
        accepts: impl FnOnce(&Opening) -> bool,
    ) -> Result<Option<u64>, PartFault> {
        let sequence = message.sequence;
        if sequence > PIECES_MAX + 1 {
            return Err(PartFault::Sequence(sequence));
        }
        match (sequence, message.content) {
            (0, StreamContent::Data(Part::Opening(opening))) => self.open(key, opening, accepts),
            (1.., StreamContent::Data(Part::Piece(piece))) => {
                if piece.is_empty() || piece.len() > PIECE_BYTES {
                    return Err(PartFault::PieceSize(piece.len()));
                }
                let Some(stream) = self.streams.get_mut(key) else { return Ok(None) };
                if let Some(block) = stream.block {
                    return self.put(block, sequence, piece);
                }
                self.waiting_bytes += piece.len();
                if let Some(before) = stream.waiting.insert(sequence, piece) {
                    self.waiting_bytes -= before.len();
                }
                Ok(None)
            }
            _ => Err(PartFault::Order),
        }
    }

    /// Begins the block of a stream's opening, or joins it, and puts in what has waited.
    fn open(
        &mut self,
        key: &(P, Bytes),
        opening: Opening,
        accepts: impl FnOnce(&Opening) -> bool,
    ) -> Result<Option<u64>, PartFault> {
        let known = self.blocks.iter().find(|(_, block)| block.opening == opening).map(|(id, _)| *id);
        let block = match known {
            Some(known) => known,
            None => self.begin(opening, accepts)?,
        };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(None) };
        stream.block = Some(block);
        let waiting = std::mem::take(&mut stream.waiting);
        self.waiting_bytes -= waiting.values().map(Vec::len).sum::<usize>();
        let mut whole = None;
        for (sequence, piece) in waiting {
            whole = whole.or(self.put(block, sequence, piece)?);
        }
        Ok(whole)
    }

    fn begin(&mut self, opening: Opening, accepts: impl FnOnce(&Opening) -> bool) -> Result<u64, PartFault> {
        if !opening.contents.is_possible() {
            return Err(PartFault::BlockSize(opening.contents.size_bytes));
        }
        if !accepts(&opening) {
            return Err(PartFault::Opening);
        }
        let same = |block: &&Arriving| {
            (block.opening.height, block.opening.round) == (opening.height, opening.round)
        };
        if self.blocks.values().filter(same).count() >= OPENINGS_PER_ROUND_MAX {
            return Err(PartFault::Openings);
        }
        if self.blocks.len() >= BLOCKS_MAX
            && let Some(oldest) = self.blocks.keys().next().copied()
        {
            self.forget_block(oldest);
        }
        let id = self.next_age();
        self.blocks.insert(id, Arriving { opening, pieces: BTreeMap::new() });
        Ok(id)
    }

    /// Puts a piece into a block, if it is the one that belongs there; the block's number, if it is whole by it.
    fn put(&mut self, id: u64, sequence: u64, piece: Vec<u8>) -> Result<Option<u64>, PartFault> {
        // It may have become whole, or been decided, by another stream.
        let Some(block) = self.blocks.get_mut(&id) else { return Ok(None) };
        let place = usize::try_from(sequence - 1).unwrap_or(usize::MAX);
        let hash = block.opening.contents.pieces.get(place).ok_or(PartFault::Sequence(sequence))?;
        if blake3::hash(&piece) != *hash {
            return Err(PartFault::OtherPiece(sequence));
        }
        block.pieces.insert(sequence, piece);
        let is_whole = block.pieces.len() == block.opening.contents.pieces.len();
        Ok(is_whole.then_some(id))
    }

    fn finish(&mut self, id: u64) -> Option<(Opening, Vec<u8>)> {
        let Arriving { opening, pieces } = self.forget_block(id)?;
        Some((opening, pieces.into_values().flatten().collect()))
    }

    fn next_age(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }

    /// Forgets a block with the streams that fill it.
    fn forget_block(&mut self, id: u64) -> Option<Arriving> {
        self.streams.retain(|_, stream| stream.block != Some(id));
        self.blocks.remove(&id)
    }

    fn forget(&mut self, key: &(P, Bytes)) {
        if let Some(stream) = self.streams.remove(key) {
            self.waiting_bytes -= stream.waiting.values().map(Vec::len).sum::<usize>();
        }
    }

    /// Room for one more stream of a publisher, at the cost of its oldest, or of the oldest of all.
    fn make_room(&mut self, publisher: &P) {
        let own = || self.streams.iter().filter(|((of, _), _)| of == publisher);
        let oldest = match own().count() {
            STREAMS_PER_PUBLISHER_MAX.. => {
                own().min_by_key(|(_, stream)| stream.age).map(|(key, _)| key.clone())
            }
            _ if self.streams.len() >= STREAMS_MAX => self.least_worth(),
            _ => None,
        };
        if let Some(key) = oldest {
            self.forget(&key);
        }
    }

    fn shrink(&mut self) {
        while self.waiting_bytes > WAITING_BYTES_MAX {
            let Some(key) = self.least_worth() else { return };
            self.forget(&key);
        }
    }

    /// The oldest stream, of those without an opening if there is one.
    fn least_worth(&self) -> Option<(P, Bytes)> {
        let worth = |stream: &Stream| (stream.block.is_some(), stream.age);
        self.streams.iter().min_by_key(|(_, stream)| worth(stream)).map(|(key, _)| key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(block: &[u8]) -> Opening {
        Opening {
            height: Height(7),
            round: Round::new(0),
            proposer: ValidatorKey([1; 32]),
            value: BlockHash([2; 32]),
            contents: Contents::of(block),
            signature: VoteSignature([3; 64]),
        }
    }

    fn block(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i % 251) as u8).collect()
    }

    fn id(name: u64) -> StreamId {
        StreamId::new(Bytes::copy_from_slice(&name.to_le_bytes()))
    }

    fn data(name: u64, sequence: u64, part: Part) -> StreamMessage<Part> {
        StreamMessage::new(id(name), sequence, StreamContent::Data(part))
    }

    fn stream(name: u64, size: usize) -> Vec<StreamMessage<Part>> {
        let block = block(size);
        split(id(name).to_bytes(), opening(&block), &block)
    }

    #[test]
    fn a_block_is_whole_again_whatever_the_order_of_its_parts() {
        for size in [1, PIECE_BYTES, PIECE_BYTES + 1, BLOCK_BYTES_MAX] {
            let mut parts = stream(1, size);
            // It ends with the last piece; what says so is for readers who do not know how many there are.
            parts.pop();
            for turn in 0..parts.len() {
                let mut assembly = Assembly::default();
                let mut order = parts.clone();
                order.rotate_left(turn);
                order.reverse();
                // The first comes twice.
                order.insert(1, order[0].clone());
                let last = order.pop().unwrap();
                for part in order {
                    assert_eq!(assembly.receive(1, part, |_| true), Ok(None));
                }
                let whole = assembly.receive(1, last, |_| true).unwrap().unwrap();
                assert_eq!(whole, (opening(&block(size)), block(size)));
                assert!(assembly.is_empty() && assembly.waiting_bytes == 0);
            }
        }
    }

    #[test]
    fn what_nobody_honest_sends_is_a_fault_and_leaves_nothing() {
        let of = |contents: Contents| Opening { contents, ..opening(&[1]) };
        let sized = |size_bytes: u32| of(Contents { size_bytes, pieces: vec![[0; 32]] });
        let too_large = BLOCK_BYTES_MAX as u32 + 1;
        let cases = [
            (data(1, PIECES_MAX + 2, Part::Piece(vec![1])), PartFault::Sequence(PIECES_MAX + 2)),
            (data(1, 1, Part::Piece(vec![])), PartFault::PieceSize(0)),
            (data(1, 1, Part::Piece(vec![0; PIECE_BYTES + 1])), PartFault::PieceSize(PIECE_BYTES + 1)),
            (data(1, 0, Part::Piece(vec![1])), PartFault::Order),
            (data(1, 1, Part::Opening(opening(&[1]))), PartFault::Order),
            (StreamMessage::new(id(1), 0, StreamContent::Fin), PartFault::Order),
            (data(1, 0, Part::Opening(of(Contents::of(&[])))), PartFault::BlockSize(0)),
            (data(1, 0, Part::Opening(sized(too_large))), PartFault::BlockSize(too_large)),
            (
                data(1, 0, Part::Opening(sized(PIECE_BYTES as u32 + 1))),
                PartFault::BlockSize(PIECE_BYTES as u32 + 1),
            ),
        ];
        for (part, fault) in cases {
            let mut assembly = Assembly::default();
            assert_eq!(assembly.receive(1, part, |_| true), Err(fault));
            assert!(assembly.is_empty() && assembly.waiting_bytes == 0);
        }
        let mut assembly = Assembly::default();
        assert_eq!(assembly.receive(1, stream(1, 9).remove(0), |_| false), Err(PartFault::Opening));
        assembly.receive(1, stream(1, 9).remove(0), |_| true).unwrap();
        let beyond = data(1, 2, Part::Piece(vec![1]));
        assert_eq!(assembly.receive(1, beyond, |_| true), Err(PartFault::Sequence(2)));
    }

    #[test]
    fn a_proposer_opens_two_blocks_of_a_round_at_the_most() {
        let mut assembly = Assembly::default();
        let mut outcomes = (1..4u8).map(|n| {
            let part = data(n.into(), 0, Part::Opening(opening(&[n])));
            assembly.receive(n, part, |_| true)
        });
        assert_eq!(outcomes.next(), Some(Ok(None)));
        assert_eq!(outcomes.next(), Some(Ok(None)));
        assert_eq!(outcomes.next(), Some(Err(PartFault::Openings)));
    }

    #[test]
    fn who_repeats_an_opening_can_only_help_and_other_bytes_are_found_out() {
        let size = 2 * PIECE_BYTES;
        let mut assembly = Assembly::default();
        let honest = stream(0, size);
        assert_eq!(assembly.receive(0, honest[0].clone(), |_| true), Ok(None));
        // Other bytes behind the opening, and before it.
        let forged = || Part::Piece(vec![7; PIECE_BYTES]);
        let repeated = |name| data(name, 0, Part::Opening(opening(&block(size))));
        assert_eq!(assembly.receive(1, repeated(1), |_| false), Ok(None));
        assert_eq!(assembly.receive(1, data(1, 1, forged()), |_| false), Err(PartFault::OtherPiece(1)));
        assert_eq!(assembly.receive(2, data(2, 2, forged()), |_| false), Ok(None));
        assert_eq!(assembly.receive(2, repeated(2), |_| false), Err(PartFault::OtherPiece(2)));
        assert_eq!(assembly.waiting_bytes, 0);
        // One half by one way, the other by another.
        assert_eq!(assembly.receive(3, repeated(3), |_| false), Ok(None));
        let second = data(3, 2, Part::Piece(block(size)[PIECE_BYTES..].to_vec()));
        assert_eq!(assembly.receive(3, second, |_| false), Ok(None));
        let whole = assembly.receive(0, honest[1].clone(), |_| true).unwrap();
        assert_eq!(whole.unwrap().1, block(size));
        assert!(assembly.is_empty());
    }

    #[test]
    fn a_flood_is_bounded_and_does_not_wash_away_a_signed_stream() {
        let mut assembly = Assembly::default();
        let mut honest = stream(0, BLOCK_BYTES_MAX);
        honest.pop();
        let last = honest.pop().unwrap();
        for part in honest {
            assembly.receive(0, part, |_| true).unwrap();
        }
        for publisher in 1..200u32 {
            for name in 0..2 * STREAMS_PER_PUBLISHER_MAX as u64 {
                for sequence in 1..3 {
                    let part = data(name, sequence, Part::Piece(vec![0; PIECE_BYTES]));
                    assembly.receive(publisher, part, |_| false).unwrap();
                    assert!(
                        assembly.waiting_bytes <= WAITING_BYTES_MAX && assembly.streams.len() <= STREAMS_MAX
                    );
                }
            }
        }
        assert!(assembly.receive(0, last, |_| true).unwrap().is_some());
        let waiting = assembly.streams.values().flat_map(|stream| stream.waiting.values());
        assert_eq!(waiting.map(Vec::len).sum::<usize>(), assembly.waiting_bytes);
    }

    #[test]
    fn blocks_of_decided_heights_are_forgotten() {
        let mut assembly = Assembly::default();
        for publisher in 0..3 {
            assembly.receive(publisher, stream(1, 9).remove(0), |_| true).unwrap();
        }
        assembly.decided(Height(6));
        assert_eq!((assembly.blocks.len(), assembly.streams.len()), (1, 3));
        assembly.decided(Height(7));
        assert!(assembly.is_empty());
    }
}
