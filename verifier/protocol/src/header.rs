//! A block's header as a receipt needs it: hash, height and the digest items of the protocol.
//!
//! The header is Substrate's: SCALE of parent hash, compact number, state root, extrinsics root and digest
//! items; its hash is BLAKE2b-256 of those bytes.

use assay_manifest::Digest32;
use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use codec::{Compact, Decode, DecodeAll, Encode};

use crate::units::Height;

/// Engine id of the digest item with R_h.
pub const BEACON_ENGINE: [u8; 4] = *b"ASBC";
/// Engine id of the digest item with the log's size and root.
pub const LOG_ENGINE: [u8; 4] = *b"ASLG";
/// Engine id of the digest item with the hash of the next validator set.
pub const NEXT_VALIDATORS_ENGINE: [u8; 4] = *b"ASNV";
/// Engine id of the digest item with the runtime version.
pub const RUNTIME_VERSION_ENGINE: [u8; 4] = *b"ASRV";
/// Engine id of the pre-runtime item with the proposer's VRF output and proof.
pub const VRF_ENGINE: [u8; 4] = *b"ASVR";

/// The header's bytes cannot be read, or an item is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading the block header: {0}")]
pub struct HeaderError(&'static str);

/// A digest item; the indices are those of Substrate.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
enum Item {
    #[codec(index = 6)]
    PreRuntime([u8; 4], Vec<u8>),
    #[codec(index = 4)]
    Consensus([u8; 4], Vec<u8>),
    #[codec(index = 5)]
    Seal([u8; 4], Vec<u8>),
    #[codec(index = 0)]
    Other(Vec<u8>),
    #[codec(index = 8)]
    RuntimeEnvironmentUpdated,
}

/// A decoded header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderView {
    /// BLAKE2b-256 of the bytes.
    pub hash: Digest32,
    /// Its height.
    pub height: Height,
    /// Root of the state after the block.
    pub state_root: Digest32,
    items: Vec<Item>,
}

impl HeaderView {
    /// Reads SCALE bytes.
    ///
    /// # Errors
    /// [`HeaderError`] for foreign or trailing bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        type Parts = ([u8; 32], Compact<u32>, [u8; 32], [u8; 32], Vec<Item>);
        let (_parent, number, state_root, _extrinsics_root, items) =
            Parts::decode_all(&mut &*bytes).map_err(|_| HeaderError("the bytes are not a header"))?;
        let hash: [u8; 32] = Blake2b::<U32>::digest(bytes).into();
        Ok(Self {
            hash: Digest32::from_bytes(hash),
            height: Height::new(number.0),
            state_root: Digest32::from_bytes(state_root),
            items,
        })
    }

    fn consensus(&self, engine: [u8; 4]) -> Option<&[u8]> {
        self.items.iter().find_map(|item| match item {
            Item::Consensus(id, data) if *id == engine => Some(data.as_slice()),
            _ => None,
        })
    }

    /// R_h of this height.
    ///
    /// # Errors
    /// [`HeaderError`] when the item is missing or malformed.
    pub fn randomness(&self) -> Result<Digest32, HeaderError> {
        let data = self.consensus(BEACON_ENGINE).ok_or(HeaderError("it carries no randomness"))?;
        Digest32::decode_all(&mut &*data).map_err(|_| HeaderError("its randomness is malformed"))
    }

    /// The hash of the validators that decide the next height.
    ///
    /// # Errors
    /// [`HeaderError`] when the item is missing or malformed.
    pub fn next_validators(&self) -> Result<Digest32, HeaderError> {
        let data =
            self.consensus(NEXT_VALIDATORS_ENGINE).ok_or(HeaderError("it names no next validators"))?;
        Digest32::decode_all(&mut &*data).map_err(|_| HeaderError("its next validators are malformed"))
    }

    /// Size and root of the log after this block.
    ///
    /// # Errors
    /// [`HeaderError`] when the item is missing or malformed.
    pub fn log(&self) -> Result<(u64, Digest32), HeaderError> {
        let data = self.consensus(LOG_ENGINE).ok_or(HeaderError("it carries no log root"))?;
        <(u64, Digest32)>::decode_all(&mut &*data).map_err(|_| HeaderError("its log root is malformed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> Vec<u8> {
        let items = vec![
            Item::PreRuntime(VRF_ENGINE, vec![1]),
            Item::Consensus(BEACON_ENGINE, [7u8; 32].to_vec()),
            Item::Consensus(LOG_ENGINE, (5u64, [8u8; 32]).encode()),
        ];
        ([1u8; 32], Compact(300u32), [2u8; 32], [3u8; 32], items).encode()
    }

    #[test]
    fn a_header_yields_its_items_and_refuses_trailing_bytes() {
        let header = HeaderView::decode(&bytes()).unwrap();
        assert_eq!(header.height, Height::new(300));
        assert_eq!(header.randomness(), Ok(Digest32::from_bytes([7; 32])));
        assert_eq!(header.log(), Ok((5, Digest32::from_bytes([8; 32]))));
        let mut long = bytes();
        long.push(0);
        assert!(HeaderView::decode(&long).is_err());
        assert!(HeaderView::decode(&[]).is_err());
    }
}
