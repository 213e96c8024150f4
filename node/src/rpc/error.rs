//! Errors as callers see them: a code, what went wrong, and what to do next.

use assay_runtime::executor::ChainError;
use jsonrpsee::core::server::SubscriptionCloseResponse;
use jsonrpsee::types::ErrorObjectOwned;
use serde::{Deserialize, Serialize};
use sp_runtime::transaction_validity::InvalidTransaction;

use super::ports::PortError;
use crate::ledger::LedgerError;
use crate::mempool::PoolError;
use crate::network::NetworkError;

/// Where the codes are explained.
const DOCS: &str = "docs/RPC.md#errors";

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $message:literal, $hint:literal;)+) => {
        /// The kinds of errors. Numbers never change their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The number in JSON-RPC.
            pub const fn number(self) -> i32 {
                match self { $(Self::$name => $number,)+ }
            }

            /// What it means.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)+ }
            }

            /// What to do next.
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint,)+ }
            }
        }
    };
}

codes! {
    /// Parameters that the method does not take.
    InvalidParams = -32602, "Invalid params", "compare the parameters with the method's in docs/RPC.md";
    /// No transaction, or an invalid one. Numbers and words of 1010 to 1016 are Substrate's.
    InvalidTransaction = 1010, "Invalid Transaction", "check the account's nonce and balance, and sign again";
    /// The ledger cannot say whether it is valid.
    UnknownValidity = 1011, "Unknown Transaction Validity", "submit it again after the next block";
    /// It was invalid a few blocks ago.
    Banned = 1012, "Transaction is temporarily banned", "sign a new transaction, or wait some blocks";
    /// The pool holds it.
    AlreadyImported = 1013, "Transaction Already Imported", "nothing is to be done: it waits for a block";
    /// Another one holds its place.
    TooLowPriority = 1014, "Priority is too low", "raise the tip, or use the next nonce";
    /// It requires itself.
    Cycle = 1015, "Cycle Detected", "sign a new transaction";
    /// There is no room.
    ImmediatelyDropped = 1016, "Immediately Dropped", "raise the tip, or submit it again after some blocks";
    /// The artifact store failed.
    ArtifactFailed = 20000, "artifact: the node failed", "look into the node's log";
    /// No such artifact.
    ArtifactNotFound = 20001, "artifact: not found", "list what is registered with artifact_v1_list";
    /// What was asked of the artifact is refused.
    ArtifactRefused = 20002, "artifact: refused", "correct what the cause names and ask again";
    /// Too many at once.
    ArtifactBusy = 20003, "artifact: busy", "ask again when the other imports are done";
    /// Nobody who has it can be reached.
    ArtifactUnavailable = 20004, "artifact: unavailable", "ask again later, or import the files: what has come is kept for the next time";
    /// No such provider.
    ProviderNotFound = 21001, "provider: not found", "list the providers with provider_v1_list";
    /// The model or the journal of jobs failed.
    JobFailed = 22000, "job: the node failed", "look into the node's log";
    /// No such job, or nothing of it here.
    JobNotFound = 22001, "job: not found", "check the id; a node has answers of jobs that passed through it, and fetches others from their executor's: ask again";
    /// What was asked of the job is refused.
    JobRefused = 22002, "job: refused", "correct what the cause names and ask again";
    /// Too many at once.
    JobBusy = 22003, "job: busy", "ask again after some blocks";
    /// The receipt cannot be put together.
    ReceiptFailed = 23000, "receipt: the node failed", "look into the node's log";
    /// The job has not come to its end.
    ReceiptNotFound = 23001, "receipt: not found", "a receipt exists when its job has settled; follow it with job_v1_watch";
    /// The receipt is refused.
    ReceiptRefused = 23002, "receipt: refused", "correct what the cause names and ask again";
    /// Too many at once.
    ReceiptBusy = 23003, "receipt: busy", "ask again in a moment";
    /// The node failed.
    NodeFailed = 25000, "node: failed", "look into the node's log; it may be stopping";
    /// No such block.
    UnknownBlock = 25001, "node: unknown block", "ask for a block of this chain, by its hash or height";
    /// The runtime refuses the call.
    RuntimeRefused = 25002, "node: refused by the runtime", "compare function and arguments with the metadata";
    /// More is asked than the node can answer.
    NodeBusy = 25003, "node: busy", "ask again in a moment";
    /// The block's state is gone.
    Pruned = 25004, "node: state is pruned", "ask for a recent block, or a node started with --archive";
    /// The method touches the node's disk or keys.
    UnsafeMethod = 25005, "node: unsafe method", "ask on the node's own machine, or start the node with --rpc-methods unsafe";
    /// More keys or heights than one request may name.
    TooMuch = 25006, "node: too much at once", "ask for less, in several requests";
    /// The node talks to no others.
    NoNetwork = 25007, "node: no network", "start the node with a network, or bring the files and import them with artifact_v1_import";
}

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {cause}", code.message())]
pub struct RpcError {
    code: Code,
    cause: String,
    reason: Option<Reason>,
}

/// Why a transaction is invalid, where a program can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its account cannot pay the fee.
    Payment,
    /// The signature is not one of the account over this call on this chain.
    BadSignature,
    /// Its nonce was used before.
    Stale,
}

impl Reason {
    const fn of(error: &PoolError) -> Option<Self> {
        match error {
            PoolError::Invalid(InvalidTransaction::Payment) => Some(Self::Payment),
            PoolError::Invalid(InvalidTransaction::BadProof) => Some(Self::BadSignature),
            PoolError::Invalid(InvalidTransaction::Stale) => Some(Self::Stale),
            _ => None,
        }
    }

    /// What to do next.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Payment => {
                "give the account more tokens: besides what it pays it keeps the existential deposit"
            }
            Self::BadSignature => {
                "sign again with the account's own key, at its nonce and for this chain's genesis and version"
            }
            Self::Stale => "sign again at the account's next nonce, as system_accountNextIndex tells it",
        }
    }
}

#[derive(Serialize)]
struct Data<'a> {
    cause: &'a str,
    hint: &'a str,
    docs: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

impl RpcError {
    /// An error with what went wrong.
    pub fn new(code: Code, cause: impl ToString) -> Self {
        Self { code, cause: cause.to_string(), reason: None }
    }

    /// Parameters that the method does not take.
    pub fn params(cause: impl ToString) -> Self {
        Self::new(Code::InvalidParams, cause)
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What went wrong.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        let RpcError { code, cause, reason } = &error;
        let hint = reason.map_or(code.hint(), Reason::hint);
        let data = Data { cause, hint, docs: DOCS, reason: *reason };
        Self::owned(code.number(), code.message(), Some(data))
    }
}

impl From<LedgerError> for RpcError {
    fn from(error: LedgerError) -> Self {
        use ChainError::{BadExtrinsic, Panicked, Pruned, Unbounded, UnknownBlock, UnknownFunction};
        let code = match &error {
            LedgerError::Chain(UnknownBlock(_)) => Code::UnknownBlock,
            LedgerError::Chain(Pruned(_)) => Code::Pruned,
            LedgerError::Chain(Unbounded(_)) => Code::UnsafeMethod,
            LedgerError::Chain(BadExtrinsic(_) | UnknownFunction(_) | Panicked(_)) => Code::RuntimeRefused,
            LedgerError::Busy => Code::NodeBusy,
            LedgerError::Chain(_) | LedgerError::Stopped | LedgerError::Foreign { .. } => Code::NodeFailed,
        };
        Self::new(code, error)
    }
}

impl From<NetworkError> for RpcError {
    fn from(error: NetworkError) -> Self {
        let code = if error == NetworkError::Busy { Code::NodeBusy } else { Code::NodeFailed };
        Self::new(code, error)
    }
}

impl From<PoolError> for RpcError {
    fn from(error: PoolError) -> Self {
        let code = match &error {
            PoolError::Invalid(InvalidTransaction::ExhaustsResources) => Code::ImmediatelyDropped,
            PoolError::TooLarge { .. }
            | PoolError::Malformed(_)
            | PoolError::Invalid(_)
            | PoolError::NoTag => Code::InvalidTransaction,
            PoolError::Unknown(_) => Code::UnknownValidity,
            PoolError::Banned => Code::Banned,
            PoolError::Known => Code::AlreadyImported,
            PoolError::Taken | PoolError::Underpriced { .. } => Code::TooLowPriority,
            PoolError::Cycle => Code::Cycle,
            PoolError::AccountFull(_) | PoolError::Full => Code::ImmediatelyDropped,
            PoolError::Busy => Code::NodeBusy,
            PoolError::Ledger(_) | PoolError::Stopped => Code::NodeFailed,
        };
        Self { reason: Reason::of(&error), ..Self::new(code, error) }
    }
}

/// The block of codes in which a port's errors are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// 20000.
    Artifact,
    /// 22000.
    Job,
    /// 23000.
    Receipt,
}

impl Group {
    /// The error of a port in this group's codes.
    pub fn error(self, error: PortError) -> RpcError {
        let [failed, not_found, refused, busy] = match self {
            Self::Artifact => {
                [Code::ArtifactFailed, Code::ArtifactNotFound, Code::ArtifactRefused, Code::ArtifactBusy]
            }
            Self::Job => [Code::JobFailed, Code::JobNotFound, Code::JobRefused, Code::JobBusy],
            Self::Receipt => {
                [Code::ReceiptFailed, Code::ReceiptNotFound, Code::ReceiptRefused, Code::ReceiptBusy]
            }
        };
        match error {
            PortError::Failed(cause) => RpcError::new(failed, cause),
            PortError::NotFound(cause) => RpcError::new(not_found, cause),
            PortError::Refused(cause) => RpcError::new(refused, cause),
            PortError::Full(cause) => RpcError::new(busy, cause),
            PortError::Unavailable(cause) => RpcError::new(Code::ArtifactUnavailable, cause),
            PortError::NoNetwork(cause) => RpcError::new(Code::NoNetwork, cause),
        }
    }
}

/// Why a subscription ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// Its client has left or unsubscribed.
    #[error("the subscriber has left")]
    Gone,
    /// Its client reads more slowly than blocks are made.
    #[error("the subscriber has fallen behind and missed something")]
    FellBehind,
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
    /// Nothing more can happen.
    #[error("this was the last event")]
    Finished,
}

impl End {
    /// The last message to a client of Substrate's subscriptions, which know no event for it.
    pub fn as_error(self) -> SubscriptionCloseResponse {
        match self {
            Self::Gone | Self::Finished => SubscriptionCloseResponse::None,
            Self::FellBehind | Self::Stopping => SubscriptionCloseResponse::NotifErr(self.into()),
        }
    }

    /// The last message to a client of ours: `{"event": "stop", "reason": …}`.
    pub fn as_event(self) -> SubscriptionCloseResponse {
        let event = serde_json::json!({ "event": "stop", "reason": self.to_string() });
        match (self, serde_json::value::to_raw_value(&event)) {
            (Self::Gone, _) | (_, Err(_)) => SubscriptionCloseResponse::None,
            (_, Ok(event)) => SubscriptionCloseResponse::Notif(event.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_documented() {
        let docs = include_str!("../../../docs/RPC.md");
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.number()), "{} is used twice", code.number());
            assert!(
                docs.contains(&format!("| {} |", code.number())),
                "{} is not in docs/RPC.md",
                code.number()
            );
        }
    }
}
