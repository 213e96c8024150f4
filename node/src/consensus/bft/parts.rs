//! How a block travels to those who vote on it: an opening that its proposer signed, then pieces of its bytes.
//!
//! Anybody can send parts, and parts of one stream may come by different ways and in any order. So what is kept of
//! them is bounded in all, and streams whose opening has not been seen give way to those whose has.

use std::collections::BTreeMap;

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
/// Bytes of unfinished streams in all.
const BYTES_MAX: usize = 8 * BLOCK_BYTES_MAX;

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
    /// Bytes of the encoded block.
    pub size_bytes: u32,
    /// The proposer's, under all of this.
    pub signature: VoteSignature,
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
    /// It comes after the last that a block can have.
    #[error("a part has number {0}, beyond the largest block")]
    Sequence(u64),
    /// A piece is longer than pieces are, or empty.
    #[error("a piece has {0} bytes")]
    PieceSize(usize),
    /// The opening is not the first part, or the first part is none.
    #[error("a stream does not begin with its opening")]
    Order,
    /// The opening announces an impossible size.
    #[error("a block of {0} bytes is announced")]
    BlockSize(u32),
    /// The opening is refused.
    #[error("the opening is not by the round's proposer")]
    Opening,
    /// The pieces are not as many bytes as were announced.
    #[error("{found} bytes came of {expected} that were announced")]
    Incomplete {
        /// What was announced.
        expected: u32,
        /// What came.
        found: usize,
    },
}

/// Streams that are not whole yet, by publisher.
#[derive(Debug)]
pub struct Assembly<P> {
    streams: BTreeMap<(P, Bytes), Stream>,
    /// Bytes of all streams.
    size_bytes: usize,
    /// Streams so far: the age of each.
    begun: u64,
}

#[derive(Debug, Default)]
struct Stream {
    opening: Option<Opening>,
    pieces: BTreeMap<u64, Vec<u8>>,
    size_bytes: usize,
    /// Number of its last part.
    last: Option<u64>,
    age: u64,
}

impl<P> Default for Assembly<P> {
    fn default() -> Self {
        Self { streams: BTreeMap::new(), size_bytes: 0, begun: 0 }
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
        let key = (publisher, message.stream_id.to_bytes());
        if !self.streams.contains_key(&key) {
            self.make_room(&key.0);
            self.begun += 1;
            self.streams.insert(key.clone(), Stream { age: self.begun, ..Stream::default() });
        }
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(None) };
        let before = stream.size_bytes;
        let taken = stream.take(message, accepts);
        self.size_bytes = self.size_bytes - before + stream.size_bytes;
        let outcome = taken.and_then(|()| stream.finish());
        if !matches!(outcome, Ok(None)) {
            self.forget(&key);
        }
        self.shrink();
        outcome
    }

    /// Whether there is no stream.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Forgets the streams of heights that are decided.
    pub fn decided(&mut self, height: Height) {
        let over = |stream: &Stream| stream.opening.as_ref().is_some_and(|opening| opening.height <= height);
        let keys: Vec<_> =
            self.streams.iter().filter(|(_, stream)| over(stream)).map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.forget(key));
    }

    fn forget(&mut self, key: &(P, Bytes)) {
        if let Some(stream) = self.streams.remove(key) {
            self.size_bytes -= stream.size_bytes;
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
        while self.size_bytes > BYTES_MAX {
            let Some(key) = self.least_worth() else { return };
            self.forget(&key);
        }
    }

    /// The oldest stream, of those without an opening if there is one.
    fn least_worth(&self) -> Option<(P, Bytes)> {
        let worth = |stream: &Stream| (stream.opening.is_some(), stream.age);
        self.streams.iter().min_by_key(|(_, stream)| worth(stream)).map(|(key, _)| key.clone())
    }
}

impl Stream {
    fn take(
        &mut self,
        message: StreamMessage<Part>,
        accepts: impl FnOnce(&Opening) -> bool,
    ) -> Result<(), PartFault> {
        let sequence = message.sequence;
        if sequence > PIECES_MAX + 1 {
            return Err(PartFault::Sequence(sequence));
        }
        match (sequence, message.content) {
            (0, StreamContent::Data(Part::Opening(opening))) => {
                let size = usize::try_from(opening.size_bytes).unwrap_or(usize::MAX);
                if size == 0 || size > BLOCK_BYTES_MAX {
                    return Err(PartFault::BlockSize(opening.size_bytes));
                }
                if !accepts(&opening) {
                    return Err(PartFault::Opening);
                }
                self.opening = Some(opening);
            }
            (1.., StreamContent::Data(Part::Piece(piece))) => {
                if piece.is_empty() || piece.len() > PIECE_BYTES {
                    return Err(PartFault::PieceSize(piece.len()));
                }
                self.size_bytes += piece.len();
                if let Some(before) = self.pieces.insert(sequence, piece) {
                    self.size_bytes -= before.len();
                }
            }
            (1.., StreamContent::Fin) => self.last = Some(sequence),
            _ => return Err(PartFault::Order),
        }
        Ok(())
    }

    /// The block, if every part is there.
    fn finish(&mut self) -> Result<Option<(Opening, Vec<u8>)>, PartFault> {
        let (Some(opening), Some(last)) = (&self.opening, self.last) else { return Ok(None) };
        if self.pieces.len() as u64 + 1 < last {
            return Ok(None);
        }
        let expected = opening.size_bytes;
        if u32::try_from(self.size_bytes) != Ok(expected) {
            return Err(PartFault::Incomplete { expected, found: self.size_bytes });
        }
        let block = std::mem::take(&mut self.pieces).into_values().flatten().collect();
        Ok(Some((opening.clone(), block)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(size_bytes: usize) -> Opening {
        Opening {
            height: Height(7),
            round: Round::new(0),
            proposer: ValidatorKey([1; 32]),
            value: BlockHash([2; 32]),
            size_bytes: u32::try_from(size_bytes).unwrap(),
            signature: VoteSignature([3; 64]),
        }
    }

    fn block(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i % 251) as u8).collect()
    }

    fn stream(name: u64, size: usize) -> Vec<StreamMessage<Part>> {
        split(Bytes::copy_from_slice(&name.to_le_bytes()), opening(size), &block(size))
    }

    #[test]
    fn a_block_is_whole_again_whatever_the_order_of_its_parts() {
        for size in [1, PIECE_BYTES, PIECE_BYTES + 1, BLOCK_BYTES_MAX] {
            let parts = stream(1, size);
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
                assert_eq!(whole, (opening(size), block(size)));
                assert_eq!((assembly.streams.len(), assembly.size_bytes), (0, 0));
            }
        }
    }

    #[test]
    fn what_nobody_honest_sends_is_a_fault_and_leaves_nothing() {
        let id = || StreamId::new(Bytes::from_static(b"stream"));
        let data = |sequence, part| StreamMessage::new(id(), sequence, StreamContent::Data(part));
        let cases = [
            (data(PIECES_MAX + 2, Part::Piece(vec![1])), PartFault::Sequence(PIECES_MAX + 2)),
            (data(1, Part::Piece(vec![])), PartFault::PieceSize(0)),
            (data(1, Part::Piece(vec![0; PIECE_BYTES + 1])), PartFault::PieceSize(PIECE_BYTES + 1)),
            (data(0, Part::Piece(vec![1])), PartFault::Order),
            (data(1, Part::Opening(opening(1))), PartFault::Order),
            (StreamMessage::new(id(), 0, StreamContent::Fin), PartFault::Order),
            (data(0, Part::Opening(opening(0))), PartFault::BlockSize(0)),
            (
                data(0, Part::Opening(opening(BLOCK_BYTES_MAX + 1))),
                PartFault::BlockSize(BLOCK_BYTES_MAX as u32 + 1),
            ),
        ];
        for (part, fault) in cases {
            let mut assembly = Assembly::default();
            assert_eq!(assembly.receive(1, part, |_| true), Err(fault));
            assert_eq!((assembly.streams.len(), assembly.size_bytes), (0, 0));
        }
        let mut assembly = Assembly::default();
        assert_eq!(assembly.receive(1, stream(1, 9).remove(0), |_| false), Err(PartFault::Opening));
        let mut short = stream(1, 9);
        short[1] = data(1, Part::Piece(vec![1; 8]));
        short[1].stream_id = short[0].stream_id.clone();
        let last = short.pop().unwrap();
        for part in short {
            assert_eq!(assembly.receive(1, part, |_| true), Ok(None));
        }
        let fault = PartFault::Incomplete { expected: 9, found: 8 };
        assert_eq!(assembly.receive(1, last, |_| true), Err(fault));
    }

    #[test]
    fn a_flood_is_bounded_and_does_not_wash_away_a_signed_stream() {
        let mut assembly = Assembly::default();
        let mut honest = stream(0, BLOCK_BYTES_MAX);
        let last = honest.pop().unwrap();
        for part in honest {
            assembly.receive(0, part, |_| true).unwrap();
        }
        for publisher in 1..200u32 {
            for name in 0..2 * STREAMS_PER_PUBLISHER_MAX as u64 {
                for sequence in 1..3 {
                    let id = StreamId::new(Bytes::copy_from_slice(&name.to_le_bytes()));
                    let piece = StreamContent::Data(Part::Piece(vec![0; PIECE_BYTES]));
                    let part = StreamMessage::new(id, sequence, piece);
                    assembly.receive(publisher, part, |_| false).unwrap();
                    assert!(assembly.size_bytes <= BYTES_MAX && assembly.streams.len() <= STREAMS_MAX);
                }
            }
        }
        assert!(assembly.receive(0, last, |_| true).unwrap().is_some());
        let total: usize = assembly.streams.values().map(|stream| stream.size_bytes).sum();
        assert_eq!(total, assembly.size_bytes);
    }

    #[test]
    fn streams_of_decided_heights_are_forgotten() {
        let mut assembly = Assembly::default();
        for publisher in 0..3 {
            assembly.receive(publisher, stream(1, 9).remove(0), |_| true).unwrap();
        }
        assembly.decided(Height(6));
        assert_eq!(assembly.streams.len(), 3);
        assembly.decided(Height(7));
        assert_eq!((assembly.streams.len(), assembly.size_bytes), (0, 0));
    }
}
