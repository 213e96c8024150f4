//! The parameters of the protocol: each with its unit and its reason.
//!
//! A chain fixes them at genesis; every block then reads the same numbers.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::units::{Amount, OutOfRange, Tokens};

/// Most seats of one job over all rounds (clause J11).
pub const SEATS_MAX: u32 = 12;
/// Most rounds of one job: the first assignment and two redraws (clauses J11, J14).
pub const ROUNDS_MAX: u8 = 3;
/// Most tokens of a job, prompt and answer together: the longest contexts in use, so that no window locks bonds
/// for months.
pub const TOKENS_MAX: u32 = 1 << 20;
/// Most candidates of one draw; bounds the work of a block.
pub const CANDIDATES_MAX: u32 = 256;
/// Verifiers of an ordinary request.
pub const VERIFIERS_DEFAULT: u8 = 2;
/// Verifiers where much is at stake: chance of a share f to hold all seats falls from f² to f⁴.
pub const VERIFIERS_HIGH: u8 = 4;

/// Heights are blocks, amounts base units, shares per cent.
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
pub struct Params {
    /// From the request to the executor's draw: the seed must not be known when the request is made.
    pub executor_draw_delay: u32,
    /// From the commitment to the verifiers' draw, for the same reason and against a proposer that
    /// withholds single blocks.
    pub verifier_draw_delay: u32,
    /// For the executor to accept.
    pub accept_window: u32,
    /// To open commitments.
    pub reveal_window: u32,
    /// For a wrong seat to concede before the referee works.
    pub concede_window: u32,
    /// For the referee's verdict.
    pub verdict_window: u32,
    /// Challenge and retention: bonds stay locked, inputs are kept.
    pub challenge_window: u32,
    /// Added to every computing deadline: delivery and loading.
    pub compute_grace: u32,
    /// Reference speed of prefill, tokens a block: the slowest machine that still earns.
    pub prefill_tokens_per_block: u32,
    /// Reference speed of decoding, tokens a block.
    pub decode_tokens_per_block: u32,
    /// From a change of an offer to its effect: a price rise never surprises a buyer.
    pub offer_delay: u32,
    /// From unbonding stake to its release; slashable throughout.
    pub unbonding_window: u32,
    /// Price of one feeless step, prepaid by the request and burned when used.
    pub step_fee: Amount,
    /// Smallest job fee: three times the weight fee of a request and the draws of its longest path, so that no
    /// job is pure load; its steps are paid by themselves.
    pub job_fee_min: Amount,
    /// Smallest stake of a provider.
    pub stake_min: Amount,
}

impl Params {
    /// The shipped parameters, for blocks of one second.
    pub const MAIN: Self = Self {
        executor_draw_delay: 2,
        verifier_draw_delay: 6,
        accept_window: 10,
        reveal_window: 10,
        concede_window: 60,
        verdict_window: 86_400,
        challenge_window: 14_400,
        compute_grace: 10,
        prefill_tokens_per_block: 100,
        decode_tokens_per_block: 10,
        offer_delay: 100,
        unbonding_window: 7 * 86_400,
        step_fee: Amount::new(1_000_000_000),
        job_fee_min: Amount::new(20_000_000_000),
        stake_min: Amount::new(100_000_000_000_000),
    };

    /// Short windows for a development chain, so that a person sees every phase within seconds.
    pub const DEVELOPMENT: Self = Self {
        verdict_window: 100,
        concede_window: 20,
        challenge_window: 20,
        offer_delay: 4,
        unbonding_window: 60,
        ..Self::MAIN
    };

    /// Blocks that an executor has from its acceptance to its commitment.
    ///
    /// # Errors
    /// [`OutOfRange`] when the token counts are absurd.
    pub fn execute_window(&self, n_in: Tokens, n_max: Tokens) -> Result<u32, OutOfRange> {
        let prefill = twice_ceil(n_in.get(), self.prefill_tokens_per_block)?;
        let decode = twice_ceil(n_max.get(), self.decode_tokens_per_block)?;
        add(add(prefill, decode)?, self.compute_grace)
    }

    /// Blocks that a verifier has from its draw to its commitment.
    ///
    /// # Errors
    /// [`OutOfRange`] when the token counts are absurd.
    pub fn verify_window(&self, n_in: Tokens, n_max: Tokens) -> Result<u32, OutOfRange> {
        let tokens = n_in.plus(n_max)?;
        add(twice_ceil(tokens.get(), self.prefill_tokens_per_block)?, self.compute_grace)
    }
}

// A provider must stay slashable until every job it served is beyond challenge and verdict.
const _: () =
    assert!(Params::MAIN.unbonding_window >= Params::MAIN.challenge_window + Params::MAIN.verdict_window);
const _: () = assert!(
    Params::DEVELOPMENT.unbonding_window
        >= Params::DEVELOPMENT.challenge_window + Params::DEVELOPMENT.concede_window
);
const _: () = assert!(Params::MAIN.executor_draw_delay >= 2);

fn twice_ceil(tokens: u32, per_block: u32) -> Result<u32, OutOfRange> {
    let twice = tokens.checked_mul(2).ok_or(OutOfRange)?;
    if per_block == 0 {
        return Err(OutOfRange);
    }
    Ok(twice.div_ceil(per_block))
}

fn add(a: u32, b: u32) -> Result<u32, OutOfRange> {
    a.checked_add(b).ok_or(OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_their_formulas() {
        let p = Params::MAIN;
        assert_eq!(p.execute_window(Tokens::new(64), Tokens::new(512)), Ok(2 + 103 + 10));
        assert_eq!(p.verify_window(Tokens::new(64), Tokens::new(512)), Ok(12 + 10));
        assert_eq!(p.execute_window(Tokens::new(u32::MAX), Tokens::ZERO), Err(OutOfRange));
    }
}
