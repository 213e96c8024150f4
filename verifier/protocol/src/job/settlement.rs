//! The end of a job: who is paid, who forfeits, and the record that the log keeps.

use assay_manifest::log::{ENTRY_VERSION, SETTLEMENT_KIND};
use assay_manifest::{Digest32, JobId};
use bounded_collections::{BoundedVec, ConstU32};
use codec::{Decode, DecodeAll, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::commitment::{Claim, Opening, ValueKind};
use crate::draw::DrawFacts;
use crate::fees::{self, PROTOCOL_FEE_BURNED_PERCENT, PROTOCOL_FEE_PERCENT};
use crate::params::SEATS_MAX;
use crate::party::{AccountBytes, Role};
use crate::record::PublicRecord;
use crate::signature::WorkKey;
use crate::units::{Amount, Height, OutOfRange, Tokens};

use super::effect::{Effect, Payee, Payment};
use super::input::Refusal;
use super::machine::{Run, holds, pays_executor};
use super::state::{Phase, Seat, SeatOutcome, SignedCommitment};

/// What the ledger says about an answer.
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
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Executed by its owner, checked by nobody.
    #[codec(index = 0)]
    #[serde(rename = "self")]
    SelfSigned,
    /// An executor committed; no verifier did.
    #[codec(index = 1)]
    Committed,
    /// Executor and verifiers committed to one value; the draw was wide (clause J15).
    #[codec(index = 2)]
    Verified,
    /// The same from a thin draw.
    #[codec(index = 3)]
    VerifiedThin,
    /// Confirmed once more after the settlement.
    #[codec(index = 4)]
    RetroVerified,
    /// Decided by the validators.
    #[codec(index = 5)]
    Refereed,
    /// No verdict was reached.
    #[codec(index = 6)]
    Inconclusive,
}

/// How a job ends.
pub(super) enum End {
    Agreed(Opening),
    Refereed(Opening),
    Inconclusive,
    Expired,
}

/// A seat in the settlement record.
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
pub struct SeatRecord {
    /// Position in the drawn order.
    pub index: u8,
    /// Round for which it was drawn.
    pub round: u8,
    /// Executor or verifier.
    pub role: Role,
    /// The account.
    #[serde(with = "crate::hex_bytes")]
    pub provider: AccountBytes,
    /// The key that signed.
    #[serde(with = "crate::hex_bytes")]
    pub work_key: WorkKey,
    /// What became of it.
    pub outcome: SeatOutcome,
    /// Its signed commitment.
    pub commitment: Option<SignedCommitment>,
    /// The value that it was opened to.
    pub value: Option<Digest32>,
    /// Paid to it from the escrow.
    pub paid: Amount,
}

/// Where the escrow went; the parts sum to it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
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
pub struct Payments {
    /// To the executor.
    pub executor: Amount,
    /// To all verifiers.
    pub verifiers: Amount,
    /// To the pot for later verifications.
    pub pot: Amount,
    /// Burned: protocol fee, steps, and what J14 takes.
    pub burned: Amount,
    /// Returned to the requester.
    pub refunded: Amount,
}

/// The canonical record of a finished job: its SCALE bytes are the log's leaf.
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
pub struct SettlementRecord {
    /// The job.
    pub job: JobId,
    /// The chain.
    pub genesis: Digest32,
    /// Who paid.
    #[serde(with = "crate::hex_bytes")]
    pub requester: AccountBytes,
    /// The requester's number of the job.
    pub nonce: u64,
    /// Every public field of the request.
    pub request: PublicRecord,
    /// The bond of each seat.
    pub bond: Amount,
    /// The last round.
    pub round: u8,
    /// What the ledger says.
    pub verdict: Verdict,
    /// The settled value's opening.
    pub opening: Option<Opening>,
    /// v_r of the settled value.
    pub value: Option<Digest32>,
    /// What the executor claimed.
    pub claim: Option<Claim>,
    /// Facts of the executor's draw.
    pub executor_draw: Option<DrawFacts>,
    /// Facts of the verifiers' draw.
    pub verifier_draw: Option<DrawFacts>,
    /// Every drawn seat.
    pub seats: BoundedVec<SeatRecord, ConstU32<SEATS_MAX>>,
    /// Where the escrow went.
    pub payments: Payments,
    /// Height of the settlement.
    pub settled_at: Height,
}

impl Run<'_> {
    /// Ends the job: judges seats, divides forfeits and the escrow, writes the record.
    pub(super) fn finish(&mut self, end: End) -> Result<(), Refusal> {
        let settled = match end {
            End::Agreed(opening) | End::Refereed(opening) => Some(self.settle(opening)?),
            End::Inconclusive | End::Expired => None,
        };
        let verdict = match (&end, &settled) {
            (End::Refereed(_), _) => Verdict::Refereed,
            (End::Agreed(_), Some(_)) if !self.is_verified() => Verdict::Committed,
            (End::Agreed(_), Some(_)) if self.is_wide() => Verdict::Verified,
            (End::Agreed(_), Some(_)) => Verdict::VerifiedThin,
            _ => Verdict::Inconclusive,
        };
        self.forfeit_losers(matches!(end, End::Refereed(_)))?;
        let payments = self.divide_escrow(settled.as_ref(), &end)?;
        self.job.phase = match &end {
            End::Agreed(_) | End::Refereed(_) => {
                Phase::Settled { closes_at: self.now.plus(Height::new(self.params.challenge_window))? }
            }
            End::Inconclusive => Phase::Inconclusive,
            End::Expired => Phase::Expired,
        };
        let record = self.record(verdict, settled.as_ref(), payments)?;
        self.effects.push(Effect::Record(Box::new(record)));
        if settled.is_none() {
            self.release_all_bonds();
            self.effects.push(Effect::Close);
        }
        Ok(())
    }

    /// Whether a verifier stands by the settled value.
    fn is_verified(&self) -> bool {
        self.job.round_seats().any(|seat| seat.role == Role::Verifier && seat.outcome == SeatOutcome::Right)
    }

    fn is_wide(&self) -> bool {
        self.job.verifier_draw.is_some_and(|facts| facts.is_wide(self.job.quote.bond))
    }

    /// Judges every counted seat against the settled value and computes what the right ones earn.
    fn settle(&mut self, opening: Opening) -> Result<Settled, Refusal> {
        let claim = self.job.claim.ok_or(Refusal::BadClaim)?;
        let value = opening.value(&self.job.id, self.job.round, &claim);
        let judged: Vec<(u8, SeatOutcome)> = self
            .job
            .counted_seats()
            .map(|seat| (seat.index, judge(seat.role, opening.kind, holds(&self.job, seat, &value))))
            .collect();
        for (index, outcome) in judged {
            if let Some(seat) = self.seat_mut(index) {
                seat.outcome = outcome;
            }
        }
        let n_out = Tokens::new(processed(&claim, &opening));
        let executor_right = self.job.executor().is_some_and(|seat| seat.outcome == SeatOutcome::Right);
        let job_fee = if executor_right && pays_executor(opening.kind) {
            fees::job_fee(&self.job.record, n_out)?
        } else {
            Amount::ZERO
        };
        Ok(Settled { opening, value, n_out, job_fee })
    }

    /// J5, J6: conceded seats lose a part of their bond, wrong ones all of it.
    fn forfeit_losers(&mut self, refereed: bool) -> Result<(), Refusal> {
        let losers: Vec<Seat> = self
            .job
            .round_seats()
            .filter(|seat| matches!(seat.outcome, SeatOutcome::Conceded | SeatOutcome::Wrong))
            .cloned()
            .collect();
        let mut referee_cost = if refereed { self.job.quote.referee_cost } else { Amount::ZERO };
        for seat in losers {
            let percent = match (seat.outcome, seat.role) {
                (SeatOutcome::Wrong, _) => 100,
                (_, Role::Executor) => 50,
                (_, Role::Verifier) => 25,
            };
            let forfeited = self.job.quote.bond.share_down(percent, 100)?;
            let paid = self.forfeit(&seat, forfeited, referee_cost)?;
            referee_cost = referee_cost.minus(paid)?;
            self.effects.push(if seat.outcome == SeatOutcome::Wrong {
                Effect::Fault { provider: seat.provider }
            } else {
                Effect::Miss { provider: seat.provider }
            });
        }
        Ok(())
    }

    /// Takes `forfeited` from the seat's bond and frees the rest; answers what went to the referee.
    fn forfeit(&mut self, seat: &Seat, forfeited: Amount, referee_cost: Amount) -> Result<Amount, Refusal> {
        let right: Vec<AccountBytes> = self
            .job
            .round_seats()
            .filter(|other| other.outcome == SeatOutcome::Right)
            .map(|other| other.provider)
            .collect();
        let seats = u32::try_from(right.len()).map_err(|_| OutOfRange)?;
        let parts = fees::divide_forfeit(forfeited, self.job.quote.job_fee, seats, referee_cost)?;
        let mut payments = vec![Payment { to: Payee::Account(self.job.requester), amount: parts.requester }];
        payments.extend(
            right.iter().map(|to| Payment { to: Payee::Account(*to), amount: parts.each_right_seat }),
        );
        payments.push(Payment { to: Payee::Pot, amount: parts.referee });
        payments.retain(|payment| payment.amount > Amount::ZERO);
        self.effects.push(Effect::ForfeitBond { provider: seat.provider, payments, burned: parts.burned });
        self.unbond(seat.index, self.job.quote.bond.minus(forfeited)?)?;
        Ok(parts.referee)
    }

    /// J7: the whole bond, and the score.
    pub(super) fn forfeit_whole(&mut self, index: u8, outcome: SeatOutcome) -> Result<(), Refusal> {
        let seat = self.seat_mut(index).ok_or(Refusal::WrongSeat)?;
        seat.outcome = outcome;
        let seat = seat.clone();
        self.forfeit(&seat, self.job.quote.bond, Amount::ZERO)?;
        self.effects.push(Effect::Fault { provider: seat.provider });
        Ok(())
    }

    /// A seat leaves without a judgement: burn its fine, free the rest of its bond.
    pub(super) fn retire(&mut self, index: u8, outcome: SeatOutcome, fine: Amount) -> Result<(), Refusal> {
        let bond = self.job.quote.bond;
        let fine = fine.at_most(bond);
        let seat = self.seat_mut(index).ok_or(Refusal::WrongSeat)?;
        seat.outcome = outcome;
        let provider = seat.provider;
        self.effects.push(Effect::EndWork { provider });
        if fine > Amount::ZERO {
            self.effects.push(Effect::ForfeitBond { provider, payments: Vec::new(), burned: fine });
        }
        if outcome == SeatOutcome::Silent {
            self.effects.push(Effect::Miss { provider });
        }
        self.unbond(index, bond.minus(fine)?)
    }

    fn unbond(&mut self, index: u8, amount: Amount) -> Result<(), Refusal> {
        let seat = self.seat_mut(index).ok_or(Refusal::WrongSeat)?;
        seat.bonded = false;
        let provider = seat.provider;
        if amount > Amount::ZERO {
            self.effects.push(Effect::ReleaseBond { provider, amount });
        }
        Ok(())
    }

    pub(super) fn release_all_bonds(&mut self) {
        let amount = self.job.quote.bond;
        for seat in self.job.seats.iter_mut().filter(|seat| seat.bonded) {
            seat.bonded = false;
            if seat.outcome.is_working() {
                self.effects.push(Effect::EndWork { provider: seat.provider });
            }
            self.effects.push(Effect::ReleaseBond { provider: seat.provider, amount });
        }
    }

    fn divide_escrow(&mut self, settled: Option<&Settled>, end: &End) -> Result<Payments, Refusal> {
        let steps = self.params.step_fee.times(self.job.steps)?.at_most(self.job.quote.steps);
        let mut payments = Payments { burned: steps, ..Payments::default() };
        if let Some(settled) = settled {
            self.pay_seats(settled, &mut payments)?;
        }
        if matches!(end, End::Expired) && self.was_never_accepted() {
            payments.burned = payments.burned.plus(self.job.quote.job_fee.share_up(1, 100)?)?;
        }
        let spent = payments.executor.plus(payments.verifiers)?.plus(payments.pot)?.plus(payments.burned)?;
        payments.refunded = self.job.quote.escrow.minus(spent)?;
        let pot = Payment { to: Payee::Pot, amount: payments.pot };
        if pot.amount > Amount::ZERO {
            self.effects.push(Effect::PayEscrow(pot));
        }
        self.effects.push(Effect::BurnEscrow { amount: payments.burned });
        self.effects.push(Effect::RefundEscrow { amount: payments.refunded });
        Ok(payments)
    }

    /// J14: the requester pays when the last executor did not accept, since it may have withheld the input.
    fn was_never_accepted(&self) -> bool {
        let last = self.job.seats.iter().rev().find(|seat| seat.role == Role::Executor);
        last.is_some_and(|seat| matches!(seat.outcome, SeatOutcome::Declined | SeatOutcome::NeverAccepted))
    }

    fn pay_seats(&mut self, settled: &Settled, payments: &mut Payments) -> Result<(), Refusal> {
        let protocol_fee = settled.job_fee.share_up(PROTOCOL_FEE_PERCENT, 100)?;
        let fee_burned = protocol_fee.share_up(PROTOCOL_FEE_BURNED_PERCENT, PROTOCOL_FEE_PERCENT)?;
        payments.burned = payments.burned.plus(fee_burned)?;
        payments.pot = protocol_fee.minus(fee_burned)?;
        let right: Vec<Seat> =
            self.job.round_seats().filter(|seat| seat.outcome == SeatOutcome::Right).cloned().collect();
        for seat in right {
            let amount = self.earned(&seat, settled)?;
            let total = match seat.role {
                Role::Executor => &mut payments.executor,
                Role::Verifier => &mut payments.verifiers,
            };
            *total = total.plus(amount)?;
            if amount > Amount::ZERO {
                self.effects.push(Effect::PayEscrow(Payment { to: Payee::Account(seat.provider), amount }));
            }
            let chosen = seat.role == Role::Executor && self.job.record.direct_executor.is_some();
            if !chosen && fee_burned > Amount::ZERO {
                self.effects.push(Effect::Credit { provider: seat.provider, burned: fee_burned });
            }
        }
        Ok(())
    }

    fn earned(&self, seat: &Seat, settled: &Settled) -> Result<Amount, OutOfRange> {
        match seat.role {
            Role::Executor => Ok(settled.job_fee),
            Role::Verifier => fees::verification_fee(seat.price, self.job.record.n_in, settled.n_out),
        }
    }

    fn record(
        &self,
        verdict: Verdict,
        settled: Option<&Settled>,
        payments: Payments,
    ) -> Result<SettlementRecord, Refusal> {
        let job = &self.job;
        let mut seats = BoundedVec::default();
        for seat in &job.seats {
            seats.try_push(self.seat_record(seat, settled)?).map_err(|_| Refusal::Full)?;
        }
        Ok(SettlementRecord {
            job: job.id,
            genesis: job.genesis,
            requester: job.requester,
            nonce: job.nonce,
            request: job.record.clone(),
            bond: job.quote.bond,
            round: job.round,
            verdict,
            opening: settled.map(|s| s.opening),
            value: settled.map(|s| s.value),
            claim: job.claim,
            executor_draw: job.executor_draw,
            verifier_draw: job.verifier_draw,
            seats,
            payments,
            settled_at: self.now,
        })
    }

    fn seat_record(&self, seat: &Seat, settled: Option<&Settled>) -> Result<SeatRecord, OutOfRange> {
        let paid = match settled {
            Some(settled) if seat.outcome == SeatOutcome::Right => self.earned(seat, settled)?,
            _ => Amount::ZERO,
        };
        let opened = seat.value.and_then(|number| self.job.values.get(usize::from(number)));
        let settled_value = settled.filter(|_| seat.outcome == SeatOutcome::Right).map(|s| s.value);
        Ok(SeatRecord {
            index: seat.index,
            round: seat.round,
            role: seat.role,
            provider: seat.provider,
            work_key: seat.work_key,
            outcome: seat.outcome.at_the_end(),
            commitment: seat.commitment,
            value: opened.map(|opened| opened.value).or(settled_value),
            paid,
        })
    }
}

/// What the settled value makes of a seat that holds it, or does not. J5: an executor that commits to its own
/// claim's rejection has conceded; otherwise a false claim would cost nothing and feed its friends.
const fn judge(role: Role, kind: ValueKind, holds: bool) -> SeatOutcome {
    match (holds, role, kind) {
        (true, Role::Executor, ValueKind::Reject) => SeatOutcome::Conceded,
        (true, ..) => SeatOutcome::Right,
        (false, ..) => SeatOutcome::Wrong,
    }
}

/// J10: a failure pays for the tokens before it, whatever its claim says.
fn processed(claim: &Claim, opening: &Opening) -> u32 {
    match opening.kind {
        ValueKind::Fail => claim.n_out.min(opening.position),
        ValueKind::Ok | ValueKind::Reject => claim.n_out,
    }
}

/// The settled value and what it pays.
pub(super) struct Settled {
    opening: Opening,
    value: Digest32,
    n_out: Tokens,
    job_fee: Amount,
}

impl SettlementRecord {
    /// The canonical leaf: version, kind of entry, SCALE of the record.
    pub fn to_leaf(&self) -> Vec<u8> {
        let mut leaf = vec![ENTRY_VERSION, SETTLEMENT_KIND];
        self.encode_to(&mut leaf);
        leaf
    }

    /// The record of a leaf, if it is one of a settlement.
    pub fn from_leaf(leaf: &[u8]) -> Option<Self> {
        let record = leaf.strip_prefix(&[ENTRY_VERSION, SETTLEMENT_KIND])?;
        Self::decode_all(&mut &*record).ok()
    }
}
