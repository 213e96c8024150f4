//! What a node or the ledger says no to.

use assay_runtime::{Runtime, RuntimeError};
use sp_runtime::{DispatchError, TokenError};

use super::{Exit, Failure};
use crate::client::{CallError, ClientError, SubmitError};
use crate::development::SetupError;
use crate::rpc::{Code, Reason};

type ArtifactsError = pallet_assay_artifacts::Error<Runtime>;
type BalancesError = pallet_balances::Error<Runtime>;
type JobsError = pallet_assay_jobs::Error<Runtime>;
type ProvidersError = pallet_assay_providers::Error<Runtime>;
type ValidatorsError = pallet_assay_validators::Error<Runtime>;

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Connect { .. } => Self::new(Exit::Connect, &error)
                .hint("start a node with `assay node --dev`, or name one with --rpc ws://HOST:PORT"),
            ClientError::Refused { code, hint, reason, .. } => {
                let failure = Self::new(refusal(*code, *reason), &error);
                match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
            ClientError::Transport { .. } => Self::new(Exit::Connect, &error)
                .hint("see whether the node still runs, and look into its log"),
            ClientError::Standstill { .. } => Self::new(Exit::Connect, &error).hint(
                "the chain stands still; what was submitted waits for it to go on: see `assay chain info` before you ask again",
            ),
            ClientError::Foreign { .. } => Self::new(Exit::Internal, &error).hint(
                "the node may be of another version; compare `assay --version` with `assay chain info`",
            ),
        }
    }
}

/// The node that was asked talks to no others.
const NO_NETWORK: i32 = Code::NoNetwork.number();

/// The exit code of a JSON-RPC error: numbers of 1010 to 1016 are about transactions; of our own codes, those that
/// end in 1 and 2 say that something is unknown or refused.
const fn refusal(code: i32, reason: Option<Reason>) -> Exit {
    match (code, code % 1000) {
        (1010, _) if matches!(reason, Some(Reason::Payment)) => Exit::Payment,
        (1010..=1016 | -32_602, _) | (20_000..=23_999, 1 | 2) | (NO_NETWORK, _) => Exit::Usage,
        _ => Exit::Internal,
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        match &error {
            SubmitError::Client(_) => match error {
                SubmitError::Client(error) => error.into(),
                other => Self::new(Exit::Internal, other),
            },
            SubmitError::Dropped { .. } => {
                Self::new(Exit::Internal, &error).hint("nothing was taken; try again in a moment")
            }
            SubmitError::Seal(_) => {
                Self::usage(&error).hint("ask for less at once: what is sealed has 256 KiB at most")
            }
            SubmitError::NobodyAccepted(job) => Self::new(Exit::NoProvider, &error)
                .hint(format!("see what it cost with `assay job show {job}`, and ask again")),
            SubmitError::Failed { cause, .. } => {
                let (exit, hint) = refused_by_the_ledger(cause);
                Self::new(exit, &error).hint(hint)
            }
        }
    }
}

/// What to do when the ledger refuses a call.
const fn refused_by_the_ledger(cause: &CallError) -> (Exit, &'static str) {
    match cause {
        CallError::Rule(RuntimeError::Jobs(error)) => refused_job(error),
        CallError::Rule(RuntimeError::Providers(error)) => (Exit::Usage, refused_provider(error)),
        CallError::Rule(RuntimeError::Validators(error)) => (Exit::Usage, refused_validator(error)),
        CallError::Rule(RuntimeError::Artifacts(error)) => (Exit::Usage, refused_artifact(error)),
        CallError::Rule(RuntimeError::Balances(
            BalancesError::InsufficientBalance | BalancesError::Expendability,
        ))
        | CallError::Other(DispatchError::Token(
            TokenError::FundsUnavailable | TokenError::NotExpendable | TokenError::Frozen,
        )) => (Exit::Payment, "the account's free balance is too small; give it more tokens"),
        _ => (Exit::Usage, NOTHING_TAKEN),
    }
}

const NOTHING_TAKEN: &str = "nothing but the fee was taken; see the arguments with --help";

const fn refused_job(error: &JobsError) -> (Exit, &'static str) {
    match error {
        JobsError::NoProvider | JobsError::TooFewVerifiers => (
            Exit::NoProvider,
            "see who serves the model with `assay provider list --model MODEL`, or raise the price limits",
        ),
        JobsError::NobodyAtLarge => (
            Exit::NoProvider,
            "see who verifies at large with `assay provider list`, raise --max-verify-price, or leave out --at-large",
        ),
        JobsError::FeeTooSmall => (
            Exit::Usage,
            "raise --max-tokens or the prices; `assay chain info` tells the smallest fee of a job",
        ),
        JobsError::VerifyCapTooSmall => (Exit::Usage, "raise --max-verify-price, or lower --max-input-price"),
        JobsError::Stale | JobsError::WrongNonce => {
            (Exit::Usage, "ask again: another job of the account came first, or this one waited too long")
        }
        JobsError::QueueFull => {
            (Exit::Internal, "the ledger has as many jobs as it takes; ask again after some blocks")
        }
        JobsError::UnknownJob => (Exit::Usage, "see the account's jobs with `assay job list`"),
        _ => (Exit::Usage, NOTHING_TAKEN),
    }
}

const fn refused_provider(error: &ProvidersError) -> &'static str {
    match error {
        ProvidersError::NotAProvider => "stake first, with `assay provider stake AMOUNT`",
        ProvidersError::StakeTooSmall => {
            "see the smallest stake with `assay chain info`; all of it can be taken out"
        }
        ProvidersError::NotFree => {
            "see what is free with `assay provider show`; stake is locked while jobs are open"
        }
        ProvidersError::TooManyUnbonding => "take out what is released first, with `assay provider withdraw`",
        ProvidersError::NothingToWithdraw => "see when stake is released with `assay provider show`",
        _ => NOTHING_TAKEN,
    }
}

const fn refused_validator(error: &ValidatorsError) -> &'static str {
    match error {
        ValidatorsError::NotBonded => "see what is staked with `assay validator status`",
        ValidatorsError::StakeTooSmall => {
            "see the smallest stake with `assay chain info`; all of it can be taken out"
        }
        ValidatorsError::OtherKeys | ValidatorsError::KeyTaken => {
            "an account keeps the keys that it staked on first, and a key its account; make new ones for a new account"
        }
        ValidatorsError::Convicted => "stake from another account, with new keys",
        ValidatorsError::TooManyValidators => "stake more than the least of those who wait to be chosen",
        ValidatorsError::StillDecides => {
            "wait until others are chosen; see who decides with `assay validator status`"
        }
        ValidatorsError::TooManyUnbonding => {
            "take out what is released first, with `assay validator withdraw`"
        }
        ValidatorsError::NotAbsent => {
            "nothing is to be done; see how it stands with `assay validator status`"
        }
        ValidatorsError::NothingToWithdraw => "see when stake is released with `assay validator status`",
        _ => NOTHING_TAKEN,
    }
}

const fn refused_artifact(error: &ArtifactsError) -> &'static str {
    match error {
        ArtifactsError::AlreadyRegistered => "nothing is to be done; see it with `assay model show`",
        ArtifactsError::NameTaken => "choose another --name; names that look alike count as the same",
        ArtifactsError::EdgeExists => "nothing is to be done; see the edges with `assay model show`",
        ArtifactsError::BadEdge => {
            "an artifact is not made from itself; lower the evidence, or name another parent"
        }
        ArtifactsError::NotRegistered => "register the artifact first, with `assay model register`",
        _ => NOTHING_TAKEN,
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Client(error) => error.into(),
            SetupError::Submit(error) => error.into(),
            SetupError::Key(error) => error.into(),
            SetupError::Files(_) | SetupError::Dataset(_) | SetupError::Inconsistent(_) => {
                Self::new(Exit::Internal, error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(cause: CallError) -> Failure {
        let block = assay_runtime::Hash::zero();
        SubmitError::Failed { call: "requesting a job", block, cause }.into()
    }

    #[test]
    fn money_and_markets_have_exit_codes_of_their_own() {
        let rule = |error: JobsError| CallError::Rule(RuntimeError::Jobs(error));
        for (cause, exit) in [
            (rule(JobsError::NoProvider), Exit::NoProvider),
            (rule(JobsError::TooFewVerifiers), Exit::NoProvider),
            (rule(JobsError::NobodyAtLarge), Exit::NoProvider),
            (rule(JobsError::Stale), Exit::Usage),
            (rule(JobsError::QueueFull), Exit::Internal),
            (CallError::Other(DispatchError::Token(TokenError::FundsUnavailable)), Exit::Payment),
            (CallError::Rule(RuntimeError::Balances(BalancesError::InsufficientBalance)), Exit::Payment),
            (CallError::Other(DispatchError::BadOrigin), Exit::Usage),
        ] {
            let said = cause.to_string();
            let failure = failed(cause);
            assert_eq!(failure.exit(), exit, "{said}");
            assert!(failure.next_step().is_some(), "{said}");
        }
        assert_eq!(refusal(1010, Some(Reason::Payment)), Exit::Payment);
        assert_eq!(refusal(1010, Some(Reason::BadSignature)), Exit::Usage);
        assert_eq!(refusal(1010, None), Exit::Usage);
        assert_eq!(refusal(20_002, None), Exit::Usage);
        assert_eq!(refusal(22_003, None), Exit::Internal);
    }

    #[test]
    fn a_call_that_failed_names_its_rule() {
        let error = JobsError::NoProvider;
        let raw = DispatchError::from(error);
        let failure = failed(raw.into());
        assert!(failure.cause().contains("Jobs(NoProvider)"), "{}", failure.cause());
        assert_eq!(failure.exit(), Exit::NoProvider);
    }
}
