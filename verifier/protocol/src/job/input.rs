//! What may happen to a job, and why it may be refused.

use assay_manifest::Digest32;

use crate::commitment::{Claim, Opening};
use crate::draw::Candidate;
use crate::party::{AccountBytes, Role};
use crate::signature::WorkKey;
use crate::units::{Amount, Height, OutOfRange, Price};

use super::state::{Party, SignedCommitment};

/// A provider that may be drawn, as the ledger knows it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Account and free stake.
    pub candidate: Candidate,
    /// The key that signs job steps.
    pub work_key: WorkKey,
    /// The X25519 key to which its data is sealed.
    pub encryption_key: Digest32,
    /// Its price of a prompt token.
    pub input: Price,
    /// Its price of a generated token.
    pub output: Price,
    /// Its price of a verified token.
    pub verify: Price,
    /// Whether it has a free place for an execution.
    pub has_capacity: bool,
    /// Whether it serves the model; who does not may verify at large.
    pub serves: bool,
}

/// Something that happens to a job. Signatures are checked before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The randomness of the draw's height is known.
    Draw {
        /// R_h.
        randomness: Digest32,
        /// Everyone who serves the model, and who may verify it at large, if the request asks for one.
        contenders: Vec<Contender>,
        /// Stake of all providers of the chain.
        total_stake: Amount,
    },
    /// The executor holds the input.
    Accept {
        /// Its seat.
        seat: u8,
    },
    /// A seat will not work.
    Decline {
        /// Its seat.
        seat: u8,
    },
    /// A seat commits.
    Commit {
        /// Its seat.
        seat: u8,
        /// The commitment and its signature.
        commitment: SignedCommitment,
        /// The executor's claim.
        claim: Option<Claim>,
    },
    /// Somebody opens a value.
    Reveal {
        /// The opening.
        opening: Opening,
    },
    /// A seat admits a wrong value.
    Concede {
        /// Its seat.
        seat: u8,
    },
    /// More than two thirds of the validators found this value, or none.
    Verdict {
        /// The opening of the right value.
        opening: Option<Opening>,
    },
    /// A second commitment signed for the same seat (clause J7).
    Equivocate {
        /// The seat.
        seat: u8,
        /// The other commitment with the work key's signature.
        commitment: SignedCommitment,
        /// The claim that was signed with it.
        claim: Option<Claim>,
    },
    /// A party lacks its data (clause J12).
    Need {
        /// Who.
        party: Party,
        /// A fresh X25519 key.
        key: Digest32,
    },
    /// A package for a party that lacks its data.
    Post {
        /// For whom.
        party: Party,
        /// Its size.
        bytes: u32,
    },
    /// A party has shown the secret with which its package opens (clause J13).
    Complain {
        /// Who.
        party: Party,
        /// What the package turned out to be.
        package: Package,
    },
    /// Somebody contests the settlement (clause J8).
    Challenge {
        /// Who stands for the referee's cost.
        challenger: AccountBytes,
    },
    /// The deadline of the phase has passed.
    Deadline,
    /// It has passed, but the validators may not decide now.
    PutOff,
}

/// What a posted package turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// It opens to what the job committed to.
    Good,
    /// It does not.
    Bad,
}

/// Why a step changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The phase does not take this step.
    #[error("the job is in another phase")]
    WrongPhase,
    /// The height of the draw or deadline has not come.
    #[error("it is too early: due at height {0}")]
    TooEarly(Height),
    /// The deadline of the step has passed.
    #[error("it is too late: was due at height {0}")]
    TooLate(Height),
    /// No such seat in this round, or of another role.
    #[error("the seat is not one that may take this step")]
    WrongSeat,
    /// The seat has already taken it.
    #[error("the seat has already taken this step")]
    Repeated,
    /// The claim is missing, superfluous or out of range.
    #[error("the claim does not fit the request")]
    BadClaim,
    /// No commitment holds this value.
    #[error("the opening opens no commitment that was still closed")]
    OpensNothing,
    /// The party has its data, or has asked for it already.
    #[error("the party may not ask for data now")]
    NoNeed,
    /// The rules of its class, or an earlier verdict, exclude a challenge.
    #[error("the settlement cannot be contested")]
    NotContestable,
    /// Two equal commitments are no equivocation.
    #[error("the commitments are equal")]
    NoEquivocation,
    /// A number left its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// A list is full.
    #[error("the job has no room for another entry")]
    Full,
}

impl Input {
    /// Whether the request has paid for the step in advance. Data that a party lacks is paid by that party.
    pub(super) const fn is_prepaid(&self) -> bool {
        matches!(
            self,
            Self::Accept { .. }
                | Self::Decline { .. }
                | Self::Commit { .. }
                | Self::Reveal { .. }
                | Self::Concede { .. }
                | Self::Verdict { .. }
                | Self::Equivocate { .. }
        )
    }
}

impl Contender {
    /// Whether the contender may be drawn for `role` at these prices.
    pub fn fits(&self, role: Role, prices: &crate::record::Prices, bond: Amount) -> bool {
        let offered = match role {
            Role::Executor => self.has_capacity && self.input <= prices.input && self.output <= prices.output,
            Role::Verifier | Role::AtLarge => self.verify <= prices.verify_max,
        };
        self.serves == (role != Role::AtLarge) && offered && self.candidate.free_stake >= bond
    }
}
