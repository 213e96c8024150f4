//! Keys and randomness of packages.

use std::convert::Infallible;

use assay_manifest::{Digest32, TaggedHash};
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, Serializable};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The public X25519 key to which a package is sealed.
pub type EncryptionKey = Digest32;

/// Bytes of an encapsulated key, which comes first in a package (RFC 9180, table 2).
pub(super) const ENCAPSULATED_BYTES: usize = 32;
/// Bytes of ChaCha20-Poly1305's tag, which comes last (RFC 8439).
pub(super) const TAG_BYTES: usize = 16;
/// Bytes of a package beside its parcel and padding.
pub(super) const OVERHEAD_BYTES: usize = ENCAPSULATED_BYTES + TAG_BYTES;

/// The secret half of an [`EncryptionKey`]; it leaves no copy in memory.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SealingSecret([u8; 32]);

impl SealingSecret {
    /// Wraps 32 random bytes; X25519 clamps them when it uses them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for whoever keeps the secret or reveals it in a complaint.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key that others seal to.
    pub fn public(&self) -> EncryptionKey {
        let public = self.hpke().map(|secret| X25519HkdfSha256::sk_to_pk(&secret));
        // 32 bytes are always a secret of X25519; no bytes are a key that anybody can seal to.
        public.map_or(Digest32::ZERO, |public| Digest32::from_bytes(public.to_bytes().into()))
    }

    pub(super) fn hpke(&self) -> Option<<X25519HkdfSha256 as Kem>::PrivateKey> {
        Deserializable::from_bytes(&self.0).ok()
    }
}

impl std::fmt::Debug for SealingSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingSecret(..)")
    }
}

/// Whether packages can be sealed to a key: not to one of small order, with which every shared secret is zero.
///
/// The ledger registers no other: its owner could ask for a package that nobody can make.
pub fn can_be_sealed_to(key: &EncryptionKey) -> bool {
    // Any secret shows it: X25519 makes each a multiple of the small orders.
    public(key).is_some_and(|key| {
        X25519HkdfSha256::encap_with_rng(&key, None, &mut Entropy::from_bytes([0; 32])).is_ok()
    })
}

pub(super) fn public(key: &EncryptionKey) -> Option<<X25519HkdfSha256 as Kem>::PublicKey> {
    Deserializable::from_bytes(key.as_bytes()).ok()
}

/// 32 fresh random bytes for one package, from the operating system's source; used up by sealing.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Entropy {
    next: [u8; 32],
}

impl Entropy {
    /// Wraps random bytes that were never used.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self { next: bytes }
    }

    /// HPKE draws exactly one block, the seed of its ephemeral key; another would be a hash of it, never the
    /// same again.
    fn block(&mut self) -> [u8; 32] {
        let block = self.next;
        self.next = *TaggedHash::new("assay/entropy/1").fixed(&block).finish().as_bytes();
        block
    }
}

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        for chunk in to.chunks_mut(32) {
            let mut block = self.block();
            chunk.iter_mut().zip(block).for_each(|(to, from)| *to = from);
            block.zeroize();
        }
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}
