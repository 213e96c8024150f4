//! Salts, commitments and values: what is hidden, what is published, and what opens it.

use assay_manifest::{Digest32, JobId, TaggedHash, merkle};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use hkdf::Hkdf;
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::party::{AccountBytes, Role};

/// The requester's 32 random bytes of one job; whoever holds them can open everything about it.
///
/// It leaves no copy in memory.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Salt(#[serde(with = "crate::hex_bytes")] [u8; 32]);

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// Which part of a job a derived salt hides; each can be disclosed alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaltPurpose {
    /// Hides the request.
    Input,
    /// Hides the tokens of the answer.
    Output,
    /// Hides the trace root in one round.
    Trace {
        /// The round.
        round: u8,
    },
}

impl Salt {
    /// Wraps random bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// SHA-256 of the salt, which the request carries so that it cannot be paired with another.
    pub fn hash(&self) -> Digest32 {
        assay_manifest::sha256(self.as_bytes())
    }

    /// The salt of one purpose: HKDF-SHA256 (RFC 5869) with the purpose as info.
    pub fn derive(&self, purpose: SaltPurpose) -> Digest32 {
        match purpose {
            SaltPurpose::Input => hkdf_sha256(self.as_bytes(), b"in"),
            SaltPurpose::Output => hkdf_sha256(self.as_bytes(), b"out"),
            SaltPurpose::Trace { round } => {
                hkdf_sha256(self.as_bytes(), &[b't', b'r', b'a', b'c', b'e', round])
            }
        }
    }
}

fn hkdf_sha256(secret: &[u8], info: &[u8]) -> Digest32 {
    expand(&Hkdf::new(None, secret), info)
}

fn expand(extracted: &Hkdf<Sha256>, info: &[u8]) -> Digest32 {
    let mut okm = [0; 32];
    // Expanding fails only past 255 blocks of output; this is one.
    let expanded = extracted.expand(info, &mut okm);
    debug_assert!(expanded.is_ok(), "32 bytes are within HKDF's limit");
    Digest32::from_bytes(okm)
}

/// `input_commit`: binds the request without showing it.
pub fn input_commit(salt: &Salt, request_bytes: &[u8]) -> Digest32 {
    input_commit_from(&salt.derive(SaltPurpose::Input), request_bytes)
}

/// [`input_commit`] from the disclosed input salt alone.
pub fn input_commit_from(input_salt: &Digest32, request_bytes: &[u8]) -> Digest32 {
    TaggedHash::new("assay/input/1").fixed(input_salt.as_bytes()).var(request_bytes).finish()
}

/// Why an answer ended (clause J19).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Finish {
    /// The model ended the text itself.
    #[codec(index = 0)]
    Eos,
    /// The stop string of this index appeared.
    #[codec(index = 1)]
    Stop(u16),
    /// The request's `max_tokens` were generated.
    #[codec(index = 2)]
    Length,
    /// The requester signed a cancellation.
    #[codec(index = 3)]
    Cancelled,
    /// The computation failed; only together with [`ValueKind::Fail`].
    #[codec(index = 4)]
    Failed,
}

impl Finish {
    fn bytes(self) -> [u8; 3] {
        let (tag, index) = match self {
            Self::Eos => (0, 0),
            Self::Stop(index) => (1, index),
            Self::Length => (2, 0),
            Self::Cancelled => (3, 0),
            Self::Failed => (4, 0),
        };
        let [low, high] = u16::to_le_bytes(index);
        [tag, low, high]
    }
}

/// What the executor publishes with its commitment.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// The salted commitment to the answer: root of its tokens, their number and the finish.
    pub out_commit: Digest32,
    /// Tokens generated.
    pub n_out: u32,
    /// Why the answer ended.
    pub finish: Finish,
}

impl Claim {
    /// The claim that a holder of the salt makes about an answer.
    pub fn of(salt: &Salt, tokens: &[u32], finish: Finish) -> Self {
        Self::from_output_salt(&salt.derive(SaltPurpose::Output), tokens, finish)
    }

    /// The same from the disclosed output salt alone.
    pub fn from_output_salt(output_salt: &Digest32, tokens: &[u32], finish: Finish) -> Self {
        let n_out = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        let out_commit = TaggedHash::new("assay/output/1")
            .fixed(output_salt.as_bytes())
            .fixed(output_root(output_salt, tokens).as_bytes())
            .u32(n_out)
            .fixed(&finish.bytes())
            .finish();
        Self { out_commit, n_out, finish }
    }
}

/// RFC 9162 root over the salted tokens; each leaf's salt lets one token be shown without the others.
fn output_root(output_salt: &Digest32, tokens: &[u32]) -> Digest32 {
    let extracted = Hkdf::new(None, output_salt.as_bytes());
    let leaf = |(index, token): (u32, &u32)| {
        let salt = expand(&extracted, &index.to_le_bytes());
        let mut data = [0; 20];
        let (head, tail) = data.split_at_mut(16);
        for (to, from) in head.iter_mut().zip(salt.as_bytes()) {
            *to = *from;
        }
        tail.copy_from_slice(&token.to_le_bytes());
        merkle::leaf_hash(&data)
    };
    let leaves: Vec<_> = (0u32..).zip(tokens).map(leaf).collect();
    merkle::root(&leaves)
}

/// The kind of result that a seat commits to.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum ValueKind {
    /// The claimed tokens are right.
    #[codec(index = 0)]
    Ok,
    /// The claimed token at `position` is not the sampled one.
    #[codec(index = 1)]
    Reject,
    /// The computation fails for everybody, with `code`.
    #[codec(index = 2)]
    Fail,
}

/// Why a computation fails for everybody.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum FailCode {
    /// No failure; the code of the other kinds.
    #[codec(index = 0)]
    None,
    /// Prompt and answer exceed the model's context.
    #[codec(index = 1)]
    ContextOverflow,
    /// A NaN or infinity appeared.
    #[codec(index = 2)]
    NotFinite,
    /// The chat template refused the messages.
    #[codec(index = 3)]
    Template,
    /// The chat template exceeded its work limit.
    #[codec(index = 4)]
    Fuel,
    /// The sampler asks for something that the definition does not hold, or a constraint left no token to choose.
    #[codec(index = 5)]
    Unsupported,
    /// The prompt does not render to the tokens that the request states.
    #[codec(index = 6)]
    Prompt,
}

impl FailCode {
    const fn byte(self) -> u8 {
        match self {
            Self::None => 0,
            Self::ContextOverflow => 1,
            Self::NotFinite => 2,
            Self::Template => 3,
            Self::Fuel => 4,
            Self::Unsupported => 5,
            Self::Prompt => 6,
        }
    }
}

/// The published opening of a value: what the reveal carries (clause J10).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Opening {
    /// Right, rejected or failed.
    pub kind: ValueKind,
    /// First wrong position, or where it failed; 0 for [`ValueKind::Ok`].
    pub position: u32,
    /// Why it failed; [`FailCode::None`] otherwise.
    pub code: FailCode,
    /// [`trace_blind`]: hides the trace root, so that one round's opening tells nothing of another's.
    pub blind: Digest32,
}

/// `w_r`: the trace root and the right token, blinded for one round.
pub fn trace_blind(salt: &Salt, round: u8, trace_root: &Digest32, right_token: u32) -> Digest32 {
    trace_blind_from(&salt.derive(SaltPurpose::Trace { round }), trace_root, right_token)
}

/// [`trace_blind`] from the disclosed trace salt alone.
pub fn trace_blind_from(trace_salt: &Digest32, trace_root: &Digest32, right_token: u32) -> Digest32 {
    TaggedHash::new("assay/trace-blind/1")
        .fixed(trace_salt.as_bytes())
        .fixed(trace_root.as_bytes())
        .u32(right_token)
        .finish()
}

impl Opening {
    /// `v_r`: the value that seats agree or disagree on.
    pub fn value(&self, job: &JobId, round: u8, claim: &Claim) -> Digest32 {
        TaggedHash::new("assay/value/1")
            .fixed(job.as_bytes())
            .u8(round)
            .u8(match self.kind {
                ValueKind::Ok => 0,
                ValueKind::Reject => 1,
                ValueKind::Fail => 2,
            })
            .u32(self.position)
            .u8(self.code.byte())
            .fixed(claim.out_commit.as_bytes())
            .u32(claim.n_out)
            .fixed(&claim.finish.bytes())
            .fixed(self.blind.as_bytes())
            .finish()
    }
}

/// Which seat of which job a commitment belongs to; it cannot be copied to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatId {
    /// The job.
    pub job: JobId,
    /// The round.
    pub round: u8,
    /// Executor or verifier.
    pub role: Role,
    /// Position in the job's drawn order.
    pub seat: u8,
    /// The account that holds the seat.
    pub provider: AccountBytes,
}

impl SeatId {
    /// The commitment of this seat to `value`.
    pub fn commit(&self, value: &Digest32) -> Digest32 {
        TaggedHash::new("assay/commit/1")
            .fixed(self.job.as_bytes())
            .u8(self.round)
            .u8(self.role.byte())
            .u8(self.seat)
            .fixed(&self.provider)
            .fixed(value.as_bytes())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat() -> SeatId {
        SeatId { job: JobId::from_bytes([1; 32]), round: 1, role: Role::Verifier, seat: 2, provider: [3; 32] }
    }

    #[test]
    fn a_commitment_binds_seat_and_value() {
        let value = Digest32::from_bytes([9; 32]);
        let base = seat().commit(&value);
        let others = [
            SeatId { job: JobId::from_bytes([2; 32]), ..seat() },
            SeatId { round: 2, ..seat() },
            SeatId { role: Role::Executor, ..seat() },
            SeatId { seat: 3, ..seat() },
            SeatId { provider: [4; 32], ..seat() },
        ];
        for other in others {
            assert_ne!(base, other.commit(&value));
        }
        assert_ne!(base, seat().commit(&Digest32::from_bytes([8; 32])));
    }

    #[test]
    fn one_rounds_blind_tells_nothing_of_the_next() {
        let salt = Salt::from_bytes([5; 32]);
        let root = Digest32::from_bytes([6; 32]);
        assert_ne!(trace_blind(&salt, 1, &root, 0), trace_blind(&salt, 2, &root, 0));
    }

    #[test]
    fn a_claim_binds_tokens_finish_and_salt() {
        let salt = Salt::from_bytes([5; 32]);
        let base = Claim::of(&salt, &[1, 2, 3], Finish::Length);
        assert_ne!(base.out_commit, Claim::of(&salt, &[1, 2, 4], Finish::Length).out_commit);
        assert_ne!(base.out_commit, Claim::of(&salt, &[1, 2], Finish::Length).out_commit);
        assert_ne!(base.out_commit, Claim::of(&salt, &[1, 2, 3], Finish::Eos).out_commit);
        let other = Salt::from_bytes([6; 32]);
        assert_ne!(base.out_commit, Claim::of(&other, &[1, 2, 3], Finish::Length).out_commit);
    }
}
