//! The parameters of the protocol: each with its unit and its reason.
//!
//! A chain fixes them at genesis; every block then reads the same numbers.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::units::{Amount, OutOfRange, Tokens};

/// Most seats of one job over all rounds (clause J11).
pub const SEATS_MAX: u32 = 12;
/// Most claims for missing data of one job: one a seat and the requester's (clause J12).
pub const NEEDS_MAX: u32 = SEATS_MAX + 1;
/// Most bytes of a sealed package on the ledger: what a block can carry beside everything else (clause J12).
pub const PACKAGE_BYTES_MAX: u32 = 256 * 1024;
/// Bytes of a package besides its tokens, at the least: a request with its salt, keys and lengths.
pub const PACKAGE_OVERHEAD_BYTES: u32 = 1_024;
/// Steps around a package: asking, posting, and one to spare for a complaint.
const NEED_STEPS: u32 = 3;
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
    /// To post data without which a job stands still, and to complain of an answer (clauses J12, J13).
    pub data_window: u32,
    /// To post an answer that was settled: nothing waits for it, so that a restart of an honest executor's machine
    /// is no ground to ask (clause J12).
    pub answer_window: u32,
    /// Price of a byte that is posted on the ledger, burned: what a transaction's byte costs.
    pub byte_fee: Amount,
    /// Per cent of settled jobs that a fresh verifier looks at again.
    pub recheck_percent: u32,
    /// Score under which every settled job of an executor is looked at again: what ten of the smallest job fees
    /// burn.
    pub newcomer_score: Amount,
    /// Blocks in which wrong values of three providers under one definition pause its verdicts.
    pub pause_window: u32,
    /// Shortest time between two changes of an encryption key by the work key alone.
    pub rotation_window: u32,
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
        data_window: 30,
        answer_window: 3_600,
        byte_fee: Amount::new(1_000),
        recheck_percent: 5,
        newcomer_score: Amount::new(4_000_000_000),
        pause_window: 86_400,
        rotation_window: 86_400,
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
        answer_window: 30,
        rotation_window: 600,
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

    /// What a party pays for a package of `bytes` on the ledger: its bytes, and the steps around it.
    ///
    /// # Errors
    /// [`OutOfRange`] when the fees are absurd.
    pub fn post_fee(&self, bytes: u32) -> Result<Amount, OutOfRange> {
        self.byte_fee.times(bytes)?.plus(self.step_fee.times(NEED_STEPS)?)
    }

    /// What a requester deposits when it asks for its answer: the price of the largest package.
    ///
    /// # Errors
    /// [`OutOfRange`] when the fees are absurd.
    pub fn need_deposit(&self) -> Result<Amount, OutOfRange> {
        self.post_fee(PACKAGE_BYTES_MAX)
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
const _: () = assert!(
    Params::MAIN.newcomer_score.get()
        == 10 * Params::MAIN.job_fee_min.get() * crate::fees::PROTOCOL_FEE_BURNED_PERCENT / 100
);

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
