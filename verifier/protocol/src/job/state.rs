//! The state of a job as the ledger keeps it.

use assay_manifest::{Digest32, JobId};
use bounded_collections::{BoundedVec, ConstU32};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::commitment::{Claim, Opening, SeatId};
use crate::draw::DrawFacts;
use crate::fees::Quote;
use crate::params::{NEEDS_MAX, Params, SEATS_MAX};
use crate::party::{AccountBytes, Role};
use crate::record::PublicRecord;
use crate::signature::{Signature, WorkKey};
use crate::units::{Amount, Height, Price};

use super::settlement::{Payments, Verdict};

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
    /// Settled; at `draw_at` chance decides whether a fresh verifier looks again.
    #[codec(index = 11)]
    Sampling {
        /// Height of the draw.
        draw_at: Height,
        /// First height at which the job may leave the state.
        closes_at: Height,
    },
    /// Settled; a fresh verifier works.
    #[codec(index = 12)]
    Rechecking {
        /// First height at which the job may leave the state.
        closes_at: Height,
    },
    /// Settled; the fresh verifier's value is to be opened.
    #[codec(index = 13)]
    RecheckRevealing {
        /// Last height for it.
        reveal_by: Height,
        /// First height at which the job may leave the state.
        closes_at: Height,
    },
    /// Settled, and contested: the validators re-execute.
    #[codec(index = 14)]
    Rejudging {
        /// Last height for a verdict.
        verdict_by: Height,
        /// First height at which the job may leave the state.
        closes_at: Height,
    },
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
    /// An executor that did not make input and answer available, or handed over something else.
    #[codec(index = 12)]
    Withheld,
    /// It complained of a package that was good.
    #[codec(index = 13)]
    FalseComplaint,
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
        matches!(self, Self::Inconclusive | Self::Expired) || self.closes_at().is_some()
    }

    /// Whether an answer was agreed upon or found, and paid.
    pub const fn is_settled(self) -> bool {
        self.closes_at().is_some()
    }

    /// Keeps a settled job in the state until `height` at the least.
    pub(super) fn keep_open_until(&mut self, height: Height) {
        match self {
            Self::Settled { closes_at }
            | Self::Sampling { closes_at, .. }
            | Self::Rechecking { closes_at }
            | Self::RecheckRevealing { closes_at, .. }
            | Self::Rejudging { closes_at, .. } => *closes_at = (*closes_at).max(height),
            _ => {}
        }
    }

    /// When a settled job may leave the state; nothing for a job that is not settled.
    pub const fn closes_at(self) -> Option<Height> {
        match self {
            Self::Settled { closes_at }
            | Self::Sampling { closes_at, .. }
            | Self::Rechecking { closes_at }
            | Self::RecheckRevealing { closes_at, .. }
            | Self::Rejudging { closes_at, .. } => Some(closes_at),
            _ => None,
        }
    }
}

/// What a seat commits to, with the work key's signature over it.
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
    /// [`SeatId::commit`] of the seat's value.
    pub commitment: Digest32,
    /// [`SeatId::commit`] of its value one round later, so that a fresh verifier's can be compared with it.
    pub recheck: Digest32,
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
    /// What it does, and from whom it was drawn.
    pub role: Role,
    /// The account whose stake stands for it.
    #[serde(with = "crate::hex_bytes")]
    pub provider: AccountBytes,
    /// The key that signs its steps.
    #[serde(with = "crate::hex_bytes")]
    pub work_key: WorkKey,
    /// The X25519 key to which its data is sealed.
    pub encryption_key: Digest32,
    /// Price of its offer when it was drawn: of a verified token, or of a generated one for an executor.
    pub price: Price,
    /// Last height for its next step.
    pub deadline: Height,
    /// What became of it.
    pub outcome: SeatOutcome,
    /// Its commitment.
    pub commitment: Option<SignedCommitment>,
    /// Index of the opened value that its commitment holds.
    pub value: Option<u8>,
    /// What is still locked of its bond.
    pub bond: Amount,
    /// Paid to it from the escrow, or from the pot.
    pub paid: Amount,
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
    /// The X25519 key to which its data will be sealed.
    pub encryption_key: Digest32,
    /// Its verification price.
    pub price: Price,
    /// The seat that it would take.
    pub role: Role,
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

/// Who lacks data.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Party {
    /// A seat, by its index.
    #[codec(index = 0)]
    Seat(u8),
    /// The requester, for its answer.
    #[codec(index = 1)]
    Requester,
}

/// Data that a party asked for on the ledger (clause J12). An entry stays, so that nobody asks twice.
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
pub struct Need {
    /// Who lacks it.
    pub party: Party,
    /// A fresh X25519 key, to which the package is sealed.
    pub key: Digest32,
    /// What the package that was posted costs the party.
    pub fee: Amount,
    /// Where it stands.
    pub state: NeedState,
}

/// Where a [`Need`] stands.
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
pub enum NeedState {
    /// The package is awaited.
    #[codec(index = 0)]
    Open {
        /// Last height for it.
        due: Height,
    },
    /// The package is on the ledger.
    #[codec(index = 1)]
    Posted {
        /// Last height for a complaint.
        due: Height,
    },
    /// The party went on, or the claim was judged.
    #[codec(index = 2)]
    Closed,
}

/// Somebody who stands with a deposit for the claim that a settlement is wrong (clause J8).
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
pub struct Challenge {
    /// Who.
    #[serde(with = "crate::hex_bytes")]
    pub challenger: AccountBytes,
    /// The referee's cost.
    pub deposit: Amount,
    /// Blocks that were left of the challenge window.
    pub left: u32,
}

/// What a job was settled by, until a verdict replaces it.
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
pub struct Standing {
    /// The round of its executor.
    pub round: u8,
    /// The opening of that round.
    pub opening: Opening,
    /// What the ledger says.
    pub verdict: Verdict,
    /// What the escrow paid.
    pub payments: Payments,
    /// Kept of the executor's fee, in the pot, for a look that has not ended.
    pub withheld: Amount,
    /// Challenges so far.
    pub challenges: u8,
}

/// A fresh look at a settled job.
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
pub struct Recheck {
    /// Facts of its draw.
    pub draw: DrawFacts,
    /// Reserved in the pot for the fee and its steps.
    pub reserved: Amount,
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
    /// Facts of the draw of a verifier at large.
    pub at_large_draw: Option<DrawFacts>,
    /// Data that was asked for on the ledger.
    pub needs: BoundedVec<Need, ConstU32<NEEDS_MAX>>,
    /// The settlement, once there is one.
    pub standing: Option<Standing>,
    /// The fresh look at it, once one was drawn.
    pub recheck: Option<Recheck>,
    /// The challenge at hand.
    pub challenge: Option<Challenge>,
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
            at_large_draw: None,
            needs: BoundedVec::default(),
            standing: None,
            recheck: None,
            challenge: None,
            steps: 0,
        })
    }

    /// The height at which the ledger must act on the job by itself.
    pub fn due(&self) -> Option<Height> {
        let phase_due = match self.phase {
            Phase::Requested { draw_at } | Phase::Committed { draw_at } | Phase::Sampling { draw_at, .. } => {
                Some(draw_at)
            }
            Phase::Assigned { accept_by } => Some(after(accept_by)),
            Phase::Accepted { commit_by } => Some(after(commit_by)),
            Phase::Verifying | Phase::Rechecking { .. } => {
                self.pending_verifiers().map(|seat| after(seat.deadline)).min()
            }
            Phase::Revealing { reveal_by } | Phase::RecheckRevealing { reveal_by, .. } => {
                Some(after(reveal_by))
            }
            Phase::Disputed { concede_by } => Some(after(concede_by)),
            Phase::Refereeing { verdict_by } | Phase::Rejudging { verdict_by, .. } => Some(after(verdict_by)),
            Phase::Settled { closes_at } => Some(closes_at),
            Phase::Inconclusive | Phase::Expired => None,
        };
        let answer_due = self.answer_due().map(after);
        [phase_due, answer_due].into_iter().flatten().min()
    }

    /// Last height at which the requester's claim on its answer waits for somebody.
    pub(super) fn answer_due(&self) -> Option<Height> {
        match self.need(Party::Requester)?.state {
            NeedState::Open { due } | NeedState::Posted { due } => Some(due),
            NeedState::Closed => None,
        }
    }

    /// What a party asked for.
    pub fn need(&self, party: Party) -> Option<&Need> {
        self.needs.iter().find(|need| need.party == party)
    }

    /// Whether the next thing to happen is a draw.
    pub fn awaits_draw(&self) -> Option<Role> {
        match self.phase {
            Phase::Requested { .. } => Some(Role::Executor),
            Phase::Committed { .. } | Phase::Sampling { .. } => Some(Role::Verifier),
            _ => None,
        }
    }

    /// Whether the requester's claim on its answer has run out, which comes before anything else.
    pub fn is_answer_overdue(&self, now: Height) -> bool {
        self.answer_due().is_some_and(|due| due < now)
    }

    /// The draw waits for a height that has come, and no claim on an answer is due before it.
    pub fn draws_at(&self, now: Height) -> Option<Role> {
        self.awaits_draw().filter(|_| !self.is_answer_overdue(now))
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
        self.round_seats().filter(|seat| seat.role.verifies() && seat.outcome == SeatOutcome::Pending)
    }

    /// The identity of a seat inside commitments.
    pub fn seat_id(&self, seat: &Seat) -> SeatId {
        SeatId { job: self.id, round: seat.round, role: seat.role, seat: seat.index, provider: seat.provider }
    }

    /// Whether the job waits for the validators.
    pub const fn is_contested(&self) -> bool {
        matches!(self.phase, Phase::Refereeing { .. } | Phase::Rejudging { .. })
    }

    /// The providers of whom something may be asked now: every seat while the job is in motion, and the executor
    /// while somebody waits for its package.
    pub fn at_hand(&self) -> Vec<AccountBytes> {
        let at_rest = matches!(self.phase, Phase::Settled { .. } | Phase::Inconclusive | Phase::Expired);
        let awaited = self.needs.iter().any(|need| matches!(need.state, NeedState::Open { .. }));
        let bonded = |seat: &&Seat| seat.bond > Amount::ZERO;
        match (at_rest, awaited) {
            (false, _) => self.seats.iter().filter(bonded).map(|seat| seat.provider).collect(),
            (true, true) => self.answerer().filter(bonded).map(|seat| seat.provider).into_iter().collect(),
            (true, false) => Vec::new(),
        }
    }

    /// What accounts have deposited for claims and challenges that are not decided.
    ///
    /// # Errors
    /// [`crate::units::OutOfRange`] when the fees are absurd.
    pub fn deposits(&self, params: &Params) -> Result<Vec<(AccountBytes, Amount)>, crate::units::OutOfRange> {
        let mut deposits: Vec<_> =
            self.challenge.iter().map(|challenge| (challenge.challenger, challenge.deposit)).collect();
        if self.answer_due().is_some() {
            deposits.push((self.requester, params.need_deposit()?));
        }
        Ok(deposits)
    }

    /// Whether an account without a seat may tell the validators what was done: the requester, and whoever contests
    /// the settlement.
    pub fn contests(&self, account: &AccountBytes) -> bool {
        let challenger = self.challenge.map(|challenge| challenge.challenger);
        self.requester == *account || challenger == Some(*account)
    }

    /// What is set aside for the job in the pot.
    pub fn reserved(&self) -> Amount {
        let withheld = self.standing.map_or(Amount::ZERO, |standing| standing.withheld);
        self.recheck.map_or(withheld, |recheck| recheck.reserved)
    }

    /// The round whose executor's answer is, or was, settled.
    pub fn answer_round(&self) -> u8 {
        self.standing.map_or(self.round, |standing| standing.round)
    }

    /// The executor whose answer the claim is.
    pub fn answerer(&self) -> Option<&Seat> {
        let round = self.answer_round();
        self.seats.iter().find(|seat| seat.round == round && seat.role == Role::Executor)
    }
}

/// Deadlines are inclusive: a step in the block of the deadline is in time.
fn after(height: Height) -> Height {
    height.plus(Height::new(1)).unwrap_or(height)
}
