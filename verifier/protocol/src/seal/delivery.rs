//! Sealing a parcel for one party of a job, opening it, and judging what was delivered (clause J13).

use assay_manifest::{Digest32, JobId};
use codec::{Decode, Encode};
use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{
    Deserializable, OpModeR, OpModeS, Serializable, single_shot_open_inout_detached,
    single_shot_seal_inout_detached_with_rng,
};
use zeroize::Zeroizing;

use super::keys::{self, ENCAPSULATED_BYTES, EncryptionKey, Entropy, SealingSecret, TAG_BYTES};
use super::parcel::{Parcel, Purpose};
use super::sizes::{is_package_size, package_size};
use crate::commitment::{Claim, Salt, input_commit};
use crate::party::AccountBytes;
use crate::record::PublicRecord;
use crate::request::{Request, RequestError};

/// What the ledger knows of a parcel's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// The input of this record.
    Input(&'a PublicRecord),
    /// The input of this record, and the answer of this claim.
    Work(&'a PublicRecord, &'a Claim),
    /// The answer of this claim.
    Answer(&'a Claim),
}

/// One delivery: from whom, to whom, of what. All of it is bound into the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The chain.
    pub genesis: Digest32,
    /// The job.
    pub job: JobId,
    /// Who seals: the requester's account, or a seat's provider.
    pub sender: AccountBytes,
    /// Who opens: an account, or a validator's key.
    pub recipient: AccountBytes,
    /// The recipient's seat; where it has none, the sender's.
    pub seat: u8,
    /// What the parcel must open to.
    pub content: Content<'a>,
}

/// A parcel could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is larger than packages are.
    #[error("sealing a parcel: its {0} bytes do not fit a package")]
    TooLarge(usize),
    /// The key is one that no secret is shared with.
    #[error("sealing a parcel: the recipient's key is not one that can be sealed to")]
    BadKey,
}

/// Why a package is not what its recipient is owed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDelivery {
    /// No package has this size.
    #[error("opening a package: none has {0} bytes")]
    Size(usize),
    /// It was sealed to another key, for another delivery, or changed on its way.
    #[error("opening a package: it was not sealed to this key for this delivery")]
    Sealed,
    /// What it holds is no parcel, or one for another purpose.
    #[error("opening a package: it holds no parcel for this purpose")]
    Parcel,
    /// Something stands behind the parcel.
    #[error("opening a package: its padding is not zeros")]
    Padding,
    /// The request is one that no rule allows.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The request is not the one that was committed to, or differs from its public record.
    #[error("opening a package: its request is not the one of the job")]
    OtherInput,
    /// The answer is not the one that was claimed.
    #[error("opening a package: its answer is not the one that was claimed")]
    OtherAnswer,
}

impl Content<'_> {
    /// What a package of it is for.
    pub const fn purpose(&self) -> Purpose {
        match self {
            Self::Input(_) => Purpose::Input,
            Self::Work(..) => Purpose::Work,
            Self::Answer(_) => Purpose::Answer,
        }
    }

    /// The commitment that the package is bound to: `aad` of RFC 9180.
    const fn commitment(&self) -> &Digest32 {
        match self {
            Self::Input(record) | Self::Work(record, _) => &record.input_commit,
            Self::Answer(claim) => &claim.out_commit,
        }
    }

    fn check(&self, parcel: &Parcel) -> Result<(), BadDelivery> {
        match (self, parcel) {
            (Self::Input(record), Parcel::Input(input)) => check_input(record, &input.salt, &input.request),
            (Self::Work(record, claim), Parcel::Work(work)) => {
                check_input(record, &work.salt, &work.request)?;
                let claimed = || Claim::of(&work.salt, &work.tokens, work.finish);
                check_answer(claim, &work.tokens, claimed)
            }
            (Self::Answer(claim), Parcel::Answer(answer)) => {
                let claimed = || Claim::from_output_salt(&answer.output_salt, &answer.tokens, answer.finish);
                check_answer(claim, &answer.tokens, claimed)
            }
            _ => Err(BadDelivery::Parcel),
        }
    }
}

/// A request must be one that the rules allow, the one that was committed to, and what its record says.
fn check_input(record: &PublicRecord, salt: &Salt, request: &Request) -> Result<(), BadDelivery> {
    request.check()?;
    let bytes = Zeroizing::new(request.to_bytes());
    let is_its_own = input_commit(salt, &bytes) == record.input_commit
        && request.salt_hash == salt.hash()
        && request.n_in == record.n_in.get()
        && request.max_tokens == record.n_max.get();
    if is_its_own { Ok(()) } else { Err(BadDelivery::OtherInput) }
}

fn check_answer(claim: &Claim, tokens: &[u32], claimed: impl FnOnce() -> Claim) -> Result<(), BadDelivery> {
    // The number first: it bounds what is hashed by what was claimed.
    let is_its_own = u32::try_from(tokens.len()) == Ok(claim.n_out) && claimed() == *claim;
    if is_its_own { Ok(()) } else { Err(BadDelivery::OtherAnswer) }
}

impl Delivery<'_> {
    /// Seals a parcel to `key`. What it holds is not compared with the content: its recipient does that.
    ///
    /// # Errors
    /// [`SealError`] when it is too large, or nothing can be sealed to the key.
    pub fn seal(
        &self,
        parcel: &Parcel,
        key: &EncryptionKey,
        mut entropy: Entropy,
    ) -> Result<Vec<u8>, SealError> {
        let parcel_bytes = parcel.encoded_size();
        let size = package_size(parcel_bytes).ok_or(SealError::TooLarge(parcel_bytes))?;
        let recipient = keys::public(key).ok_or(SealError::BadKey)?;
        // Written with room for all of it, so that growing leaves no copy; then sealed in place.
        let mut text = Zeroizing::new(Vec::with_capacity(size));
        parcel.encode_to(&mut *text);
        text.resize(size.saturating_sub(keys::OVERHEAD_BYTES), 0);
        let (encapsulated, tag) =
            single_shot_seal_inout_detached_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
                &OpModeS::Base,
                &recipient,
                &self.info(),
                InOutBuf::from(text.as_mut_slice()),
                self.content.commitment().as_bytes(),
                &mut entropy,
            )
            .map_err(|_| SealError::BadKey)?;
        Ok([encapsulated.to_bytes().as_slice(), &text, &tag.to_bytes()].concat())
    }

    /// Opens a package and checks that it holds what its recipient is owed. The same answer everywhere, in time
    /// bounded by the package's size.
    ///
    /// # Errors
    /// [`BadDelivery`] saying why the sender owes another.
    pub fn open(&self, package: &[u8], secret: &SealingSecret) -> Result<Parcel, BadDelivery> {
        let text = self.unseal(package, secret)?;
        let mut rest = text.as_slice();
        let parcel = Parcel::decode(&mut rest).map_err(|_| BadDelivery::Parcel)?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(BadDelivery::Padding);
        }
        self.content.check(&parcel)?;
        Ok(parcel)
    }

    /// Whether a delivery was good, for a ledger to whom the recipient has shown its secret (clause J13).
    ///
    /// # Errors
    /// [`BadDelivery`] saying why it was not.
    pub fn judge(&self, package: &[u8], secret: &SealingSecret) -> Result<(), BadDelivery> {
        self.open(package, secret).map(drop)
    }

    fn unseal(&self, package: &[u8], secret: &SealingSecret) -> Result<Zeroizing<Vec<u8>>, BadDelivery> {
        if !is_package_size(package.len()) {
            return Err(BadDelivery::Size(package.len()));
        }
        let unreadable = || BadDelivery::Sealed;
        let (encapsulated, sealed) = package.split_at_checked(ENCAPSULATED_BYTES).ok_or_else(unreadable)?;
        let at = sealed.len().saturating_sub(TAG_BYTES);
        let (sealed, tag) = sealed.split_at_checked(at).ok_or_else(unreadable)?;
        let mut text = Zeroizing::new(sealed.to_vec());
        single_shot_open_inout_detached::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &secret.hpke().ok_or_else(unreadable)?,
            &Deserializable::from_bytes(encapsulated).map_err(|_| unreadable())?,
            &self.info(),
            InOutBuf::from(text.as_mut_slice()),
            self.content.commitment().as_bytes(),
            &AeadTag::from_bytes(tag).map_err(|_| unreadable())?,
        )
        .map_err(|_| unreadable())?;
        Ok(text)
    }

    /// `info` of RFC 9180: the tag with its NUL, then fields of fixed width.
    pub(super) fn info(&self) -> Vec<u8> {
        [
            b"assay/seal/1\0".as_slice(),
            self.genesis.as_bytes(),
            self.job.as_bytes(),
            &[self.content.purpose().byte()],
            &self.sender,
            &self.recipient,
            &[self.seat],
        ]
        .concat()
    }
}
