//! The state of a job as the ledger keeps it.

use assay_manifest::{Digest32, JobId};
use bounded_collections::{BoundedVec, ConstU32};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::commitment::{Claim, Opening, SeatId};
use crate::draw::DrawFacts;
use crate::fees::Quote;
use crate::params::{Params, SEATS_MAX};
use crate::party::{AccountBytes, Role};
use crate::record::PublicRecord;
use crate::signature::{Signature, WorkKey};
use crate::units::{Height, Price};

/// Where a job stands; every phase that is not final has exactly one deadline.
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
#[serde(rename_all = "camelCase", tag = "name")]
pub enum Phase {
    /// Escrow is held; the executor is drawn at `draw_at`.
    #[codec(index = 0)]
    Requested {
        /// Height of the draw.
        draw_at: Height,
    },
    /// An executor is drawn and may accept.
    #[codec(index = 1)]
    Assigned {
        /// Last height for it.
        accept_by: Height,
    },
    /// The executor works.
    #[codec(index = 2)]
    Accepted {
        /// Last height for its commitment.
        commit_by: Height,
    },
    /// The executor has committed; the verifiers are drawn at `draw_at`.
    #[codec(index = 3)]
    Committed {
        /// Height of the draw.
        draw_at: Height,
    },
    /// The verifiers work; each seat has its own deadline.
    #[codec(index = 4)]
    Verifying,
    /// All counted seats have committed; anyone may open the values.
    #[codec(index = 5)]
    Revealing {
        /// Last height before differing or unopened values are a dispute.
        reveal_by: Height,
    },
    /// The values differ; seats may concede.
    #[codec(index = 6)]
    Disputed {
        /// Last height before the referee decides.
        concede_by: Height,
    },
    /// The validators re-execute.
    #[codec(index = 7)]
    Refereeing {
        /// Last height for a verdict.
        verdict_by: Height,
    },
    /// Paid; bonds stay locked until the challenge window closes.
    #[codec(index = 8)]
    Settled {
        /// Height at which the job leaves the state.
        closes_at: Height,
    },
    /// No verdict: refunded.
    #[codec(index = 9)]
    Inconclusive,
    /// Nobody executed it: refunded.
    #[codec(index = 10)]
    Expired,
}

/// What became of a seat.
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
pub enum SeatOutcome {
    /// Drawn, nothing heard yet.
    #[codec(index = 0)]
    Pending,
    /// The executor has accepted.
    #[codec(index = 1)]
    Accepted,
    /// Its commitment is on the ledger.
    #[codec(index = 2)]
    Committed,
    /// It declined.
    #[codec(index = 3)]
    Declined,
    /// It owed a commitment and its deadline passed.
    #[codec(index = 4)]
    Silent,
    /// It admitted a wrong value.
    #[codec(index = 5)]
    Conceded,
    /// Its value is the settled one.
    #[codec(index = 6)]
    Right,
    /// Its value is another than the settled one.
    #[codec(index = 7)]
    Wrong,
    /// It signed two commitments.
    #[codec(index = 8)]
    Equivocated,
    /// The job ended without a judgement of its value.
    #[codec(index = 9)]
    Unjudged,
    /// An executor that did not accept in time; no fault, since the input may have been withheld.
    #[codec(index = 10)]
    NeverAccepted,
    /// Passed over: it could not bond when its turn came.
    #[codec(index = 11)]
    Unbonded,
}

impl SeatOutcome {
    /// Whether the seat still has something to compute.
    pub(super) const fn is_working(self) -> bool {
        matches!(self, Self::Pending | Self::Accepted)
    }

    /// What the record says of a seat whose work the end of the job cut short.
    pub(super) const fn at_the_end(self) -> Self {
        match self {
            Self::Pending | Self::Accepted | Self::Committed => Self::Unjudged,
            judged => judged,
        }
    }
}

impl Phase {
    /// Whether the escrow has been divided.
    pub const fn is_paid(self) -> bool {
        matches!(self, Self::Settled { .. } | Self::Inconclusive | Self::Expired)
    }
}

/// A commitment with the work key's signature over it.
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
pub struct SignedCommitment {
    /// [`SeatId::commit`].
    pub commitment: Digest32,
    /// Over [`crate::signature::SeatStep::digest`].
    pub signature: Signature,
}

/// One drawn provider of a job.
#[derive(
    Clone,
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
pub struct Seat {
    /// Position in the job's drawn order, over all rounds.
    pub index: u8,
    /// The round for which it was drawn.
    pub round: u8,
    /// Executor or verifier.
    pub role: Role,
    /// The account whose stake stands for it.
    #[serde(with = "crate::hex_bytes")]
    pub provider: AccountBytes,
    /// The key that signs its steps.
    #[serde(with = "crate::hex_bytes")]
    pub work_key: WorkKey,
    /// Verification price of its offer when it was drawn; zero for an executor.
    pub price: Price,
    /// Last height for its next step.
    pub deadline: Height,
    /// What became of it.
    pub outcome: SeatOutcome,
    /// Its commitment.
    pub commitment: Option<SignedCommitment>,
    /// Index of the opened value that its commitment holds.
    pub value: Option<u8>,
    /// Whether its bond is still locked.
    pub bonded: bool,
}

/// A drawn provider that takes a seat only after a fault (clause J11).
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
pub struct Standby {
    /// The account.
    #[serde(with = "crate::hex_bytes")]
    pub provider: AccountBytes,
    /// The key that will sign.
    #[serde(with = "crate::hex_bytes")]
    pub work_key: WorkKey,
    /// Its verification price.
    pub price: Price,
}

/// A value that somebody opened.
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
pub struct OpenedValue {
    /// What was published.
    pub opening: Opening,
    /// v_r.
    pub value: Digest32,
}

/// A pending claim about delivery or settlement (clauses J8, J12, J13); these rules come with the network,
/// the format is fixed from the first version.
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
pub enum ClaimState {
    /// A seat lacks data and asks for it on chain.
    #[codec(index = 0)]
    Need {
        /// The seat.
        seat: u8,
        /// A fresh X25519 key to seal to.
        ephemeral_key: Digest32,
        /// Last height for the package.
        due: Height,
    },
    /// A seat says that what it got does not open to its commitment.
    #[codec(index = 1)]
    Complaint {
        /// The seat.
        seat: u8,
        /// Last height for a judgement.
        due: Height,
    },
    /// Somebody challenges the settlement.
    #[codec(index = 2)]
    Challenge {
        /// Who stands for the referee's cost.
        #[serde(with = "crate::hex_bytes")]
        challenger: AccountBytes,
        /// Last height for a verdict.
        due: Height,
    },
}

/// Everything that the ledger knows of a job.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The chain it belongs to.
    pub genesis: Digest32,
    /// Who pays.
    pub requester: AccountBytes,
    /// The requester's own number of this job.
    pub nonce: u64,
    /// What is asked for.
    pub record: PublicRecord,
    /// The amounts fixed at the request.
    pub quote: Quote,
    /// The assignment at hand, from 1.
    pub round: u8,
    /// Where it stands.
    pub phase: Phase,
    /// Drawn providers of all rounds, in order.
    pub seats: BoundedVec<Seat, ConstU32<SEATS_MAX>>,
    /// Who steps in after a fault, in drawn order.
    pub standby: BoundedVec<Standby, ConstU32<SEATS_MAX>>,
    /// The executor's claim of this round.
    pub claim: Option<Claim>,
    /// Values opened in this round.
    pub values: BoundedVec<OpenedValue, ConstU32<SEATS_MAX>>,
    /// Facts of the executor's draw.
    pub executor_draw: Option<DrawFacts>,
    /// Facts of the verifiers' draw.
    pub verifier_draw: Option<DrawFacts>,
    /// Pending claims.
    pub claims: BoundedVec<ClaimState, ConstU32<SEATS_MAX>>,
    /// Feeless steps taken so far.
    pub steps: u32,
}

impl Job {
    /// A fresh job at height `now`; its escrow must be held by the caller.
    ///
    /// # Errors
    /// [`crate::units::OutOfRange`] at the end of all heights.
    pub fn new(
        genesis: Digest32,
        requester: AccountBytes,
        nonce: u64,
        record: PublicRecord,
        quote: Quote,
        start: (Height, &Params),
    ) -> Result<Self, crate::units::OutOfRange> {
        let (now, params) = start;
        Ok(Self {
            id: record.job_id(&genesis, &requester, nonce),
            genesis,
            requester,
            nonce,
            record,
            quote,
            round: 1,
            phase: Phase::Requested { draw_at: now.plus(Height::new(params.executor_draw_delay))? },
            seats: BoundedVec::default(),
            standby: BoundedVec::default(),
            claim: None,
            values: BoundedVec::default(),
            executor_draw: None,
            verifier_draw: None,
            claims: BoundedVec::default(),
            steps: 0,
        })
    }

    /// The height at which the ledger must act on the job by itself.
    pub fn due(&self) -> Option<Height> {
        match self.phase {
            Phase::Requested { draw_at } | Phase::Committed { draw_at } => Some(draw_at),
            Phase::Assigned { accept_by } => Some(after(accept_by)),
            Phase::Accepted { commit_by } => Some(after(commit_by)),
            Phase::Verifying => self.pending_verifiers().map(|seat| after(seat.deadline)).min(),
            Phase::Revealing { reveal_by } => Some(after(reveal_by)),
            Phase::Disputed { concede_by } => Some(after(concede_by)),
            Phase::Refereeing { verdict_by } => Some(after(verdict_by)),
            Phase::Settled { closes_at } => Some(closes_at),
            Phase::Inconclusive | Phase::Expired => None,
        }
    }

    /// Whether the next thing to happen is a draw.
    pub fn awaits_draw(&self) -> Option<Role> {
        match self.phase {
            Phase::Requested { .. } => Some(Role::Executor),
            Phase::Committed { .. } => Some(Role::Verifier),
            _ => None,
        }
    }

    /// Seats of the round at hand.
    pub fn round_seats(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| seat.round == self.round)
    }

    /// The executor of the round at hand.
    pub fn executor(&self) -> Option<&Seat> {
        self.round_seats().find(|seat| seat.role == Role::Executor)
    }

    /// Seats of the round whose commitments count: committed and neither conceded nor equivocated.
    pub fn counted_seats(&self) -> impl Iterator<Item = &Seat> {
        self.round_seats().filter(|seat| seat.outcome == SeatOutcome::Committed)
    }

    pub(super) fn pending_verifiers(&self) -> impl Iterator<Item = &Seat> {
        self.round_seats().filter(|seat| seat.role == Role::Verifier && seat.outcome == SeatOutcome::Pending)
    }

    /// The identity of a seat inside commitments.
    pub fn seat_id(&self, seat: &Seat) -> SeatId {
        SeatId { job: self.id, round: seat.round, role: seat.role, seat: seat.index, provider: seat.provider }
    }
}

/// Deadlines are inclusive: a step in the block of the deadline is in time.
fn after(height: Height) -> Height {
    height.plus(Height::new(1)).unwrap_or(height)
}
