//! Parcels: what packages hold.

use assay_manifest::{Digest32, JobId};
use codec::{Decode, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::keys::EncryptionKey;
use super::sizes::package_size;
use crate::commitment::{Finish, Salt, SaltPurpose};
use crate::request::Request;

/// What a package is for.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// The request, from the requester to the executor.
    #[codec(index = 0)]
    Input,
    /// Request and answer, from a seat that holds them to one that re-executes, or to a validator.
    #[codec(index = 1)]
    Work,
    /// The answer, from a seat to the requester.
    #[codec(index = 2)]
    Answer,
}

impl Purpose {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Input => 0,
            Self::Work => 1,
            Self::Answer => 2,
        }
    }
}

/// The plaintext of a package. It leaves no copy in memory and prints nothing of itself.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub enum Parcel {
    /// For [`Purpose::Input`].
    #[codec(index = 0)]
    Input(InputParcel),
    /// For [`Purpose::Work`].
    #[codec(index = 1)]
    Work(WorkParcel),
    /// For [`Purpose::Answer`].
    #[codec(index = 2)]
    Answer(AnswerParcel),
}

impl std::fmt::Debug for Parcel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parcel({:?}, ..)", self.purpose())
    }
}

/// What an executor needs.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct InputParcel {
    /// Opens everything about the job.
    pub salt: Salt,
    /// What is asked.
    pub request: Request,
    /// A key of the requester for this job alone, to which the answer is sealed.
    pub reply_key: EncryptionKey,
}

/// What a verifier, or a validator that referees, needs.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct WorkParcel {
    /// Opens everything about the job.
    pub salt: Salt,
    /// What was asked.
    pub request: Request,
    /// The claimed answer.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// The requester's key for the answer, for a seat that has to hand it over in the executor's stead.
    pub reply_key: Option<EncryptionKey>,
}

/// What a requester gets.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct AnswerParcel {
    /// s_out, so that whoever judges the delivery needs no other part of the salt.
    pub output_salt: Digest32,
    /// The answer.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// The trace root behind the sender's commitment.
    pub trace_root: Digest32,
}

impl Parcel {
    /// What it is for.
    pub const fn purpose(&self) -> Purpose {
        match self {
            Self::Input(_) => Purpose::Input,
            Self::Work(_) => Purpose::Work,
            Self::Answer(_) => Purpose::Answer,
        }
    }

    /// Whether a package has room for it.
    pub fn fits(&self) -> bool {
        package_size(self.encoded_size()).is_some()
    }
}

impl InputParcel {
    /// Whether the work of this request fits a package, however long the answer becomes: what does not cannot
    /// be handed to a verifier, and is declined before it is accepted.
    pub fn work_fits(&self) -> bool {
        // Numbers of tokens up to 2³⁰ take four bytes before the tokens themselves, of four bytes each.
        let tokens = usize::try_from(self.request.max_tokens).ok().and_then(|tokens| tokens.checked_mul(4));
        let empty = WorkParcel::of(self, &[], Finish::Stop(u16::MAX));
        let work = Parcel::Work(empty).encoded_size().checked_add(3);
        let needed = work.zip(tokens).and_then(|(work, tokens)| work.checked_add(tokens));
        needed.and_then(package_size).is_some()
    }

    /// The sampler's seed in `job`.
    pub fn seed(&self, job: &JobId) -> Digest32 {
        self.request.seed(&self.salt, job)
    }
}

impl WorkParcel {
    /// The work that an input and its answer make.
    pub fn of(input: &InputParcel, tokens: &[u32], finish: Finish) -> Self {
        Self {
            salt: input.salt.clone(),
            request: input.request.clone(),
            tokens: tokens.to_vec(),
            finish,
            reply_key: Some(input.reply_key),
        }
    }
}

impl AnswerParcel {
    /// The answer as its requester gets it.
    pub fn of(salt: &Salt, tokens: &[u32], finish: Finish, trace_root: Digest32) -> Self {
        let output_salt = salt.derive(SaltPurpose::Output);
        Self { output_salt, tokens: tokens.to_vec(), finish, trace_root }
    }
}

/// Wipes a parcel's fields when it is dropped; salts wipe themselves.
macro_rules! wiped {
    ($($parcel:ident: $($field:ident),*);* $(;)?) => {$(
        impl Zeroize for $parcel {
            fn zeroize(&mut self) {
                $(self.$field.zeroize();)*
            }
        }

        impl Drop for $parcel {
            fn drop(&mut self) {
                self.zeroize();
            }
        }
    )*};
}

wiped! {
    InputParcel: request;
    WorkParcel: request, tokens;
    AnswerParcel: tokens;
}
