//! Announcements: where on the network a provider or a validator is found, and how much it takes.
//!
//! Nothing on the ledger depends on one. It says to whom an envelope is handed over; whoever receives one there still
//! proves by opening it that it is the recipient. A provider signs with its work key, a validator with its consensus
//! key, under a tag of its own each.

use assay_manifest::{Digest32, TaggedHash};
use bounded_collections::{BoundedVec, ConstU32};
use codec::{Decode, Encode};

use crate::certificate::verify_ed25519;
use crate::party::AccountBytes;
use crate::signature::{Signature, WorkKey};
use crate::units::Height;

/// Addresses of one announcement.
pub const ADDRESSES_MAX: u32 = 8;
/// Bytes of one address, in the binary form of multiaddresses; the longest, through a relay, has about 150.
pub const ADDRESS_BYTES_MAX: u32 = 256;
/// Bytes of a network name: the multihash of an ed25519 key has 38.
pub const PEER_BYTES_MAX: u32 = 64;

/// Who is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Announcer {
    /// A provider, by its account.
    #[codec(index = 0)]
    Provider(AccountBytes),
    /// A validator, by its consensus key.
    #[codec(index = 1)]
    Validator(Digest32),
}

impl Announcer {
    /// The bytes by which envelopes name it as their recipient.
    pub const fn party(&self) -> &AccountBytes {
        match self {
            Self::Provider(account) => account,
            Self::Validator(key) => key.as_bytes(),
        }
    }

    const fn byte(&self) -> u8 {
        match self {
            Self::Provider(_) => 0,
            Self::Validator(_) => 1,
        }
    }
}

/// How much somebody takes at the moment. A claim: what is drawn follows from the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Capacity {
    /// Executions that could begin now.
    pub free_slots: u32,
    /// Models that are loaded.
    pub models: u32,
}

/// Where somebody is found.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Announcement {
    /// The chain.
    pub genesis: Digest32,
    /// Who.
    pub announcer: Announcer,
    /// The network name of its node, as libp2p encodes it.
    pub peer: BoundedVec<u8, ConstU32<PEER_BYTES_MAX>>,
    /// Where the node is reached, as multiaddresses are encoded.
    pub addresses: BoundedVec<BoundedVec<u8, ConstU32<ADDRESS_BYTES_MAX>>, ConstU32<ADDRESSES_MAX>>,
    /// How much it takes.
    pub capacity: Capacity,
    /// The height at which it was made; of two of one announcer, the later counts.
    pub height: Height,
}

impl Announcement {
    /// What is signed.
    pub fn digest(&self) -> Digest32 {
        let tag = match self.announcer {
            Announcer::Provider(_) => "assay/announcement/provider/1",
            Announcer::Validator(_) => "assay/announcement/validator/1",
        };
        let count = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
        let head = TaggedHash::new(tag)
            .digest(&self.genesis)
            .u8(self.announcer.byte())
            .fixed(self.announcer.party())
            .var(&self.peer)
            .u32(count);
        self.addresses
            .iter()
            .fold(head, |hash, address| hash.var(address))
            .u32(self.capacity.free_slots)
            .u32(self.capacity.models)
            .u32(self.height.get())
            .finish()
    }
}

/// An announcement with its announcer's signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedAnnouncement {
    /// What is announced.
    pub announcement: Announcement,
    /// Over [`Announcement::digest`].
    pub signature: Signature,
}

/// An announcement that nobody should follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnouncementError {
    /// It was made for another chain.
    #[error("reading an announcement: it is for another chain")]
    OtherChain,
    /// Somebody else signed it, or it was changed.
    #[error("reading an announcement: the signature is not its announcer's")]
    Signature,
}

impl SignedAnnouncement {
    /// Checks chain and signature. For a provider, `work_key` is what the ledger has as its work key; a validator's own
    /// name is its key.
    ///
    /// # Errors
    /// [`AnnouncementError`] naming what is wrong.
    pub fn check(&self, genesis: &Digest32, work_key: &WorkKey) -> Result<(), AnnouncementError> {
        let Self { announcement, signature } = self;
        if announcement.genesis != *genesis {
            return Err(AnnouncementError::OtherChain);
        }
        let digest = announcement.digest();
        let is_signed = match announcement.announcer {
            Announcer::Provider(_) => signature.verifies(work_key, &digest),
            Announcer::Validator(key) => verify_ed25519(&key, &digest, signature),
        };
        if is_signed { Ok(()) } else { Err(AnnouncementError::Signature) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    pub fn announcement(announcer: Announcer) -> Announcement {
        let addresses = vec![vec![4, 127, 0, 0, 1, 6, 1, 2].try_into().unwrap()];
        Announcement {
            genesis: Digest32::from_bytes([1; 32]),
            announcer,
            peer: vec![7; 38].try_into().unwrap(),
            addresses: addresses.try_into().unwrap(),
            capacity: Capacity { free_slots: 3, models: 2 },
            height: Height::new(9),
        }
    }

    fn work_key() -> schnorrkel::Keypair {
        schnorrkel::MiniSecretKey::from_bytes(&[5; 32])
            .unwrap()
            .expand_to_keypair(schnorrkel::ExpansionMode::Ed25519)
    }

    #[test]
    fn an_announcement_is_signed_by_its_announcers_key_and_covers_every_field() {
        let keys = work_key();
        let announcement = announcement(Announcer::Provider([2; 32]));
        let digest = announcement.digest();
        let signature = Signature(keys.sign_simple(b"substrate", digest.as_bytes()).to_bytes());
        let signed = SignedAnnouncement { announcement: announcement.clone(), signature };
        let (genesis, key) = (announcement.genesis, keys.public.to_bytes());
        assert_eq!(signed.check(&genesis, &key), Ok(()));
        assert_eq!(signed.check(&Digest32::ZERO, &key), Err(AnnouncementError::OtherChain));
        assert_eq!(signed.check(&genesis, &[9; 32]), Err(AnnouncementError::Signature));
        let edits: [fn(&mut Announcement); 7] = [
            |a| a.announcer = Announcer::Provider([3; 32]),
            |a| a.announcer = Announcer::Validator(Digest32::from_bytes([2; 32])),
            |a| a.peer = vec![8; 38].try_into().unwrap(),
            |a| a.addresses = Default::default(),
            |a| a.capacity.free_slots += 1,
            |a| a.capacity.models += 1,
            |a| a.height = Height::new(10),
        ];
        for edit in edits {
            let mut signed = signed.clone();
            edit(&mut signed.announcement);
            assert_eq!(signed.check(&genesis, &key), Err(AnnouncementError::Signature));
        }
    }

    #[test]
    fn a_validators_name_is_the_key_that_signs() {
        let key = SigningKey::from_bytes(&[6; 32]);
        let own = Digest32::from_bytes(key.verifying_key().to_bytes());
        for (named, expected) in [(own, Ok(())), (Digest32::ZERO, Err(AnnouncementError::Signature))] {
            let announcement = announcement(Announcer::Validator(named));
            let signature = Signature(key.sign(announcement.digest().as_bytes()).to_bytes());
            let genesis = announcement.genesis;
            assert_eq!(SignedAnnouncement { announcement, signature }.check(&genesis, &[0; 32]), expected);
        }
    }

    #[test]
    fn an_address_that_is_too_long_is_not_decoded() {
        let mut bytes = announcement(Announcer::Provider([2; 32])).encode();
        // The compact length of the only address, before its eight bytes, capacity and height.
        let at = bytes.len() - 8 - 12 - 1;
        bytes.splice(at..=at, codec::Compact(257u32).encode());
        bytes.resize(bytes.len() + 300, 0);
        assert!(Announcement::decode(&mut bytes.as_slice()).is_err());
    }
}
