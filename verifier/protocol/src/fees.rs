//! What a job costs and how forfeited bonds are divided; every number to the unit.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::params::{Params, ROUNDS_MAX, SEATS_MAX, VERIFIERS_HIGH};
use crate::record::PublicRecord;
use crate::units::{Amount, OutOfRange, Price, Tokens};

/// Per cent of the job fee that the requester pays on top of it.
pub const PROTOCOL_FEE_PERCENT: u128 = 5;
/// Of those, the per cent that is burned; the rest pays later verifications.
pub const PROTOCOL_FEE_BURNED_PERCENT: u128 = 2;
/// Bond of a seat as a multiple of the largest job fee: open value stays under a tenth of the stake.
pub const BOND_PER_JOB_FEE: u32 = 10;

/// Steps that the ledger takes for one job without a fee of their own.
pub const STEPS_PREPAID: u32 = 48;

/// The most steps that can change a job: each seat accepts or declines and commits, each may be convicted
/// of a second commitment, each committed one holds a value to open and may concede, and one verdict.
const STEPS_MAX: u32 =
    2 * ROUNDS_MAX as u32 + (SEATS_MAX - ROUNDS_MAX as u32) + SEATS_MAX + 2 * (VERIFIERS_HIGH as u32 + 1) + 1;
const _: () = assert!(STEPS_PREPAID >= STEPS_MAX);

/// The amounts that a request fixes, all of them upper bounds.
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
pub struct Quote {
    /// F_max: prompt and the most output tokens.
    pub job_fee: Amount,
    /// A_max of one verifier at the request's cap.
    pub verification_fee: Amount,
    /// Protocol fee on F_max.
    pub protocol_fee: Amount,
    /// For the feeless steps.
    pub steps: Amount,
    /// Held from the requester: the sum of all, with one verification fee a verifier.
    pub escrow: Amount,
    /// B: locked from each seat's stake.
    pub bond: Amount,
    /// The referee's cost: one verification by each validator.
    pub referee_cost: Amount,
}

/// What the requester must hold and each seat must lock.
///
/// # Errors
/// [`OutOfRange`] when prices or counts are absurd.
pub fn quote(record: &PublicRecord, params: &Params, validators: u32) -> Result<Quote, OutOfRange> {
    let job_fee = job_fee(record, record.n_max)?;
    let verification_fee = verification_fee(record.prices.verify_max, record.n_in, record.n_max)?;
    let protocol_fee = job_fee.share_up(PROTOCOL_FEE_PERCENT, 100)?;
    let steps = params.step_fee.times(STEPS_PREPAID)?;
    let escrow = job_fee
        .plus(verification_fee.times(record.policy.verifiers().into())?)?
        .plus(protocol_fee)?
        .plus(steps)?;
    let referee_cost = verification_fee.times(validators)?;
    let half_more_than_referee = referee_cost.share_up(3, 2)?;
    let bond = job_fee.times(BOND_PER_JOB_FEE)?.max(half_more_than_referee);
    Ok(Quote { job_fee, verification_fee, protocol_fee, steps, escrow, bond, referee_cost })
}

/// F: what the executor earns for `n_out` tokens.
///
/// # Errors
/// [`OutOfRange`] when prices or counts are absurd.
pub fn job_fee(record: &PublicRecord, n_out: Tokens) -> Result<Amount, OutOfRange> {
    record.prices.input.of(record.n_in)?.plus(record.prices.output.of(n_out)?)
}

/// A = p_verify · (n_in + 1.25 · n_out).
///
/// # Errors
/// [`OutOfRange`] when prices or counts are absurd.
pub fn verification_fee(price: Price, n_in: Tokens, n_out: Tokens) -> Result<Amount, OutOfRange> {
    let quarters = u64::from(n_in.get())
        .checked_mul(4)
        .and_then(|q| q.checked_add(u64::from(n_out.get()).checked_mul(5)?))
        .ok_or(OutOfRange)?;
    price.of_quarters(quarters)
}

/// How one forfeited amount is divided; the parts sum to the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forfeit {
    /// To the requester: its lost time.
    pub requester: Amount,
    /// To each seat whose value was right.
    pub each_right_seat: Amount,
    /// Towards the referee's cost.
    pub referee: Amount,
    /// Burned: at least half, so that accusing is never a business.
    pub burned: Amount,
}

/// Divides `forfeited`: requester F, each right seat F/2, the referee's cost, never more than half in all.
///
/// # Errors
/// [`OutOfRange`] when the amounts are absurd.
pub fn divide_forfeit(
    forfeited: Amount,
    job_fee: Amount,
    right_seats: u32,
    referee_cost: Amount,
) -> Result<Forfeit, OutOfRange> {
    let payable = forfeited.share_down(1, 2)?;
    let requester = job_fee.at_most(payable);
    let left = payable.minus(requester)?;
    let each_right_seat = match right_seats {
        0 => Amount::ZERO,
        seats => job_fee.share_down(1, 2)?.at_most(left.share_down(1, seats.into())?),
    };
    let left = left.minus(each_right_seat.times(right_seats)?)?;
    let referee = referee_cost.at_most(left);
    let paid = requester.plus(each_right_seat.times(right_seats)?)?.plus(referee)?;
    Ok(Forfeit { requester, each_right_seat, referee, burned: forfeited.minus(paid)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forfeit_burns_at_least_half_and_loses_no_unit() {
        for forfeited in [0, 1, 2, 3, 99, 1_000, 12_345] {
            for job_fee in [0, 1, 7, 100] {
                for seats in 0..5 {
                    let amount = Amount::new(forfeited);
                    let parts = divide_forfeit(amount, Amount::new(job_fee), seats, Amount::new(9)).unwrap();
                    let paid = parts.requester.get()
                        + parts.each_right_seat.get() * u128::from(seats)
                        + parts.referee.get();
                    assert_eq!(paid + parts.burned.get(), forfeited);
                    assert!(parts.burned.get() * 2 >= forfeited);
                }
            }
        }
    }

    #[test]
    fn a_verification_counts_output_at_five_quarters() {
        let fee = verification_fee(Price::new(1_000_000), Tokens::new(64), Tokens::new(512)).unwrap();
        assert_eq!(fee, Amount::new(64 + 640));
    }
}
