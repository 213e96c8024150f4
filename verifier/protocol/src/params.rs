//! The parameters of the protocol: each with its unit and its reason.
//!
//! A chain fixes them at genesis; every block then reads the same numbers.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::fees::PROTOCOL_FEE_BURNED_PERCENT;
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
/// Providers that verify at large: half of what serves a model, as a draw reads both.
pub const AT_LARGE_CANDIDATES_MAX: u32 = 128;
/// Accounts drawn for the seat of a verifier at large: the second and the third step in where one before cannot have
/// the model (clause J16).
pub const AT_LARGE_SEATS_MAX: u32 = 3;
/// The largest model that one may be asked to fetch: longer than that takes, no bond should wait.
pub const AT_LARGE_BYTES_MAX: u64 = 64 << 30;
/// Blocks that a verifier at large is given to find whoever has the model, and to load it.
pub const FINDING_BLOCKS: u32 = 60;
/// Bytes of a model that it is given a block more to fetch.
pub const FETCHED_BYTES_PER_BLOCK: u64 = 4 << 20;

/// Blocks to a draw, at the least: its randomness then is not that of the next block, whose proposer may know it.
const DRAW_DELAY_MIN: u32 = 2;
/// Jobs of the smallest fee after which an executor is no newcomer any more.
const NEWCOMER_JOBS: u128 = 10;

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
    /// Blocks from one choice of validators to the next. Who stakes is chosen after two whole ones at the earliest, so
    /// that no beacon key is chosen for randomness that is known.
    pub session_length: u32,
    /// Smallest stake that a validator adds or leaves.
    pub validator_stake_min: Amount,
    /// From unbonding a validator's stake to its release; for as long its votes are answered for, and receipts are
    /// judged without an older anchor.
    pub validator_unbonding_window: u32,
}

/// Parameters that contradict one another, or with which no job could be done. Each names what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// The seed of a draw would be known when it is asked for, or to the proposer of the next block alone.
    #[error("executorDrawDelay and verifierDrawDelay must be at least {DRAW_DELAY_MIN} blocks")]
    DrawDelay,
    /// A phase would end before anybody could act.
    #[error(
        "acceptWindow, revealWindow, concedeWindow, verdictWindow, challengeWindow, dataWindow and answerWindow \
         must be at least 1 block"
    )]
    Window,
    /// Stake could be gone before its job is beyond dispute.
    #[error("unbondingWindow must be at least challengeWindow and concedeWindow together")]
    Unbonding,
    /// No computing deadline would follow from it.
    #[error("prefillTokensPerBlock and decodeTokensPerBlock must be at least 1")]
    Speed,
    /// Nobody would ever be chosen, or a validator could be gone before what it did is known.
    #[error("sessionLength must be at least 1 block, and validatorUnbondingWindow at least three sessions")]
    Session,
    /// It is a share of a hundred.
    #[error("recheckPercent must be at most 100")]
    Recheck,
    /// Newcomers would be told from others by another measure than the documented one.
    #[error(
        "newcomerScore must be what {NEWCOMER_JOBS} jobs of jobFeeMin burn, \
         {PROTOCOL_FEE_BURNED_PERCENT} per cent of each, or 0, with which nobody is a newcomer"
    )]
    NewcomerScore,
    /// Nothing would stand for an answer, an offer or a step.
    #[error("stepFee, jobFeeMin, stakeMin and validatorStakeMin must be more than 0")]
    Nothing,
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
        newcomer_score: Amount::new(5_000_000_000),
        pause_window: 86_400,
        rotation_window: 86_400,
        offer_delay: 100,
        unbonding_window: 7 * 86_400,
        step_fee: Amount::new(1_000_000_000),
        job_fee_min: Amount::new(25_000_000_000),
        stake_min: Amount::new(100_000_000_000_000),
        session_length: 600,
        validator_stake_min: Amount::new(1_000_000_000_000_000),
        validator_unbonding_window: 28 * 86_400,
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
        session_length: 10,
        validator_stake_min: Amount::new(1_000_000_000_000),
        validator_unbonding_window: 120,
        ..Self::MAIN
    };

    /// Whether the parameters fit one another, so that a chain can begin with them.
    ///
    /// # Errors
    /// [`ParamsError`]: the first relation that does not hold.
    pub const fn check(&self) -> Result<(), ParamsError> {
        if self.executor_draw_delay < DRAW_DELAY_MIN || self.verifier_draw_delay < DRAW_DELAY_MIN {
            return Err(ParamsError::DrawDelay);
        }
        if self.has_an_empty_window() {
            return Err(ParamsError::Window);
        }
        let disputable = self.challenge_window.saturating_add(self.concede_window);
        if self.unbonding_window < disputable {
            return Err(ParamsError::Unbonding);
        }
        if self.prefill_tokens_per_block == 0 || self.decode_tokens_per_block == 0 {
            return Err(ParamsError::Speed);
        }
        if self.session_length == 0 || self.validator_unbonding_window / 3 < self.session_length {
            return Err(ParamsError::Session);
        }
        if self.recheck_percent > 100 {
            return Err(ParamsError::Recheck);
        }
        self.check_money()
    }

    const fn has_an_empty_window(&self) -> bool {
        self.accept_window == 0
            || self.reveal_window == 0
            || self.concede_window == 0
            || self.verdict_window == 0
            || self.challenge_window == 0
            || self.data_window == 0
            || self.answer_window == 0
    }

    const fn check_money(&self) -> Result<(), ParamsError> {
        let amounts = [self.step_fee, self.job_fee_min, self.stake_min, self.validator_stake_min];
        if amounts[0].get() == 0 || amounts[1].get() == 0 || amounts[2].get() == 0 || amounts[3].get() == 0 {
            return Err(ParamsError::Nothing);
        }
        let score = self.newcomer_score.get();
        let burned = self.job_fee_min.get().checked_mul(NEWCOMER_JOBS * PROTOCOL_FEE_BURNED_PERCENT);
        match burned {
            Some(burned) if score == 0 || score == burned / 100 => Ok(()),
            _ => Err(ParamsError::NewcomerScore),
        }
    }

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

    /// Blocks that a verifier at large has, which fetches the model before (clause J16).
    ///
    /// # Errors
    /// [`OutOfRange`] when the token counts or the model are absurd.
    pub fn verify_at_large_window(
        &self,
        n_in: Tokens,
        n_max: Tokens,
        weights_bytes: u64,
    ) -> Result<u32, OutOfRange> {
        let fetching = u32::try_from(weights_bytes.div_ceil(FETCHED_BYTES_PER_BLOCK));
        let fetching = add(FINDING_BLOCKS, fetching.map_err(|_| OutOfRange)?)?;
        add(self.verify_window(n_in, n_max)?, fetching)
    }
}

const _: () = assert!(matches!(Params::MAIN.check(), Ok(())));
const _: () = assert!(matches!(Params::DEVELOPMENT.check(), Ok(())));
// A provider stays slashable until every job it served is beyond challenge and verdict.
const _: () =
    assert!(Params::MAIN.unbonding_window >= Params::MAIN.challenge_window + Params::MAIN.verdict_window);

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
    #[test]
    fn parameters_that_contradict_one_another_are_told() {
        let main = Params::MAIN;
        let cases = [
            (ParamsError::DrawDelay, Params { executor_draw_delay: 1, ..main.clone() }),
            (ParamsError::DrawDelay, Params { verifier_draw_delay: 1, ..main.clone() }),
            (ParamsError::Window, Params { accept_window: 0, ..main.clone() }),
            (ParamsError::Window, Params { answer_window: 0, ..main.clone() }),
            (ParamsError::Unbonding, Params { unbonding_window: 14_459, ..main.clone() }),
            (ParamsError::Unbonding, Params { challenge_window: u32::MAX, ..main.clone() }),
            (ParamsError::Speed, Params { decode_tokens_per_block: 0, ..main.clone() }),
            (ParamsError::Recheck, Params { recheck_percent: 101, ..main.clone() }),
            (ParamsError::NewcomerScore, Params { newcomer_score: Amount::new(1), ..main.clone() }),
            (ParamsError::NewcomerScore, Params { job_fee_min: Amount::new(u128::MAX), ..main.clone() }),
            (ParamsError::Nothing, Params { job_fee_min: Amount::ZERO, ..main.clone() }),
            (ParamsError::Nothing, Params { stake_min: Amount::ZERO, ..main.clone() }),
        ];
        for (error, params) in cases {
            assert_eq!(params.check(), Err(error), "{params:?}");
        }
        assert_eq!(Params { unbonding_window: 14_460, ..main.clone() }.check(), Ok(()));
        assert_eq!(Params { newcomer_score: Amount::ZERO, ..main }.check(), Ok(()));
    }
}
