//! Why the pool refused a transaction, and what that says of the same bytes elsewhere and later.

use sp_runtime::transaction_validity::{InvalidTransaction, UnknownTransaction};

/// Why the pool refused a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Longer than any transaction may be.
    #[error("reading a transaction: it has {bytes} bytes, and at most {bytes_max} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// Bytes that are no transaction, or one nested too deeply.
    #[error("reading a transaction: {0}")]
    Malformed(String),
    /// The ledger says that it is invalid.
    #[error("checking a transaction: {}", <&str>::from(*.0))]
    Invalid(InvalidTransaction),
    /// The ledger cannot say whether it is valid.
    #[error("checking a transaction: {}", <&str>::from(*.0))]
    Unknown(UnknownTransaction),
    /// It provides nothing by which it could be told from others.
    #[error("checking a transaction: it provides no tag")]
    NoTag,
    /// It requires what it provides itself.
    #[error("ordering a transaction: it requires itself")]
    Cycle,
    /// It was found invalid a few blocks ago.
    #[error("admitting a transaction: it was invalid a moment ago and is not checked again for some blocks")]
    Banned,
    /// It is here already.
    #[error("admitting a transaction: it is already in the pool")]
    Known,
    /// Another step of the same kind for the same seat is here already.
    #[error("admitting a transaction: another one for the same step is in the pool, and stays")]
    Taken,
    /// Another transaction of the same account and nonce is here, and this one does not outbid it.
    #[error(
        "replacing a transaction of the same nonce: the priority must be {percent} percent higher; raise the tip"
    )]
    Underpriced {
        /// By how much it must be higher.
        percent: u64,
    },
    /// Its account has as many transactions here as it may.
    #[error("admitting a transaction: its account has {0} in the pool, and that is the limit")]
    AccountFull(usize),
    /// The pool holds as much as it may, and nothing that ranks lower than this.
    #[error("admitting a transaction: the pool is full of transactions that go before it; raise the tip")]
    Full,
    /// More is coming in than the pool can look at.
    #[error("admitting a transaction: the pool is busy")]
    Busy,
    /// The ledger could not be asked.
    #[error("checking a transaction: {0}")]
    Ledger(String),
    /// The pool has stopped.
    #[error("asking the pool: it has stopped")]
    Stopped,
}

/// How the validity of a transaction hangs on the ledger's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Without a signer: valid while the state asks for it.
    Step,
    /// Signed by an account for ever.
    Lasting,
    /// Signed by an account for some blocks, and over the hash of one of them. Which one follows from the height of
    /// whoever checks.
    Mortal,
}

/// What a refusal says of the same bytes on another state of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// No state makes them valid: whoever passes them on did not check them.
    Never,
    /// They were valid, perhaps, and no later state makes them so.
    Spent,
    /// The next blocks may make them valid.
    Soon,
    /// Nothing.
    Open,
}

impl PoolError {
    /// What it says of a transaction of this nature. Bans, faults of peers and second attempts all follow from this.
    pub const fn outlook(&self, nature: Nature) -> Outlook {
        use InvalidTransaction::{BadProof, BadSigner, Future, MandatoryValidation, Stale};
        match (self, nature) {
            (Self::TooLarge { .. } | Self::Malformed(_), _)
            | (Self::Invalid(BadSigner | MandatoryValidation), _)
            | (Self::Invalid(BadProof), Nature::Lasting) => Outlook::Never,
            // The nonce is used up.
            (Self::Invalid(Stale), Nature::Lasting | Nature::Mortal) => Outlook::Spent,
            (Self::Invalid(Stale), Nature::Step) | (Self::Invalid(Future), _) => Outlook::Soon,
            _ => Outlook::Open,
        }
    }
}

/// Why the pool refused what a peer passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    /// Why.
    pub error: PoolError,
    /// What that says of the same bytes elsewhere and later.
    pub outlook: Outlook,
}

impl Refused {
    /// A refusal of a transaction of this nature.
    pub const fn new(error: PoolError, nature: Nature) -> Self {
        let outlook = error.outlook(nature);
        Self { error, outlook }
    }
}

#[cfg(test)]
mod tests {
    use sp_runtime::transaction_validity::UnknownTransaction;

    use super::*;

    #[test]
    fn only_what_holds_on_every_state_says_never() {
        use InvalidTransaction::*;
        use Nature::*;
        let invalid = PoolError::Invalid;
        for (error, nature, expected) in [
            (PoolError::Malformed("x".into()), Mortal, Outlook::Never),
            (PoolError::TooLarge { bytes: 2, bytes_max: 1 }, Step, Outlook::Never),
            (invalid(BadSigner), Mortal, Outlook::Never),
            (invalid(BadProof), Lasting, Outlook::Never),
            // Signed over a block that another height takes for the one of its birth.
            (invalid(BadProof), Mortal, Outlook::Open),
            (invalid(AncientBirthBlock), Mortal, Outlook::Open),
            // What a step proves is proven to a state.
            (invalid(BadProof), Step, Outlook::Open),
            (invalid(Stale), Lasting, Outlook::Spent),
            (invalid(Stale), Mortal, Outlook::Spent),
            (invalid(Stale), Step, Outlook::Soon),
            (invalid(Future), Step, Outlook::Soon),
            (invalid(Payment), Lasting, Outlook::Open),
            (PoolError::Unknown(UnknownTransaction::CannotLookup), Lasting, Outlook::Open),
            // The pool's own affairs.
            (PoolError::Full, Step, Outlook::Open),
            (PoolError::Busy, Lasting, Outlook::Open),
            (PoolError::Banned, Lasting, Outlook::Open),
            (PoolError::Known, Step, Outlook::Open),
        ] {
            assert_eq!(error.outlook(nature), expected, "{error:?} {nature:?}");
        }
    }
}
