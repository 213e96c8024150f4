//! What the ledger carries out after a transition.

use crate::draw::Candidate;
use crate::party::{AccountBytes, Role};
use crate::units::Amount;

use super::settlement::SettlementRecord;
use super::state::{Job, Party};

/// Where forfeited or escrowed tokens go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payee {
    /// An account.
    Account(AccountBytes),
    /// The pot that pays referees and later verifications.
    Pot,
}

/// One payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// To whom.
    pub to: Payee,
    /// How much.
    pub amount: Amount,
}

/// One thing for the ledger to do; a transition's effects are carried out in order, all or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A draw took place among these; publish them, so that anyone can repeat it.
    Drawn {
        /// For which seats.
        role: Role,
        /// Everyone who could be drawn.
        candidates: Vec<Candidate>,
    },
    /// Lock a bond within the provider's stake.
    LockBond {
        /// Whose.
        provider: AccountBytes,
        /// How much.
        amount: Amount,
    },
    /// Free a locked bond.
    ReleaseBond {
        /// Whose.
        provider: AccountBytes,
        /// How much.
        amount: Amount,
    },
    /// Take locked stake away: pay the parts, burn the rest.
    ForfeitBond {
        /// Whose.
        provider: AccountBytes,
        /// Parts that are paid out.
        payments: Vec<Payment>,
        /// Part that is burned.
        burned: Amount,
    },
    /// Pay from the job's escrow.
    PayEscrow(Payment),
    /// Burn from the job's escrow.
    BurnEscrow {
        /// How much.
        amount: Amount,
    },
    /// Return the rest of the escrow to the requester.
    RefundEscrow {
        /// How much.
        amount: Amount,
    },
    /// A seat has something to compute from now on.
    BeginWork {
        /// Whose.
        provider: AccountBytes,
    },
    /// A seat has nothing left to compute.
    EndWork {
        /// Whose.
        provider: AccountBytes,
    },
    /// A seat was silent or conceded: its score shrinks to two thirds.
    Miss {
        /// Whose.
        provider: AccountBytes,
    },
    /// A seat was proven wrong: its score is zero and it is barred for a while.
    Fault {
        /// Whose.
        provider: AccountBytes,
    },
    /// A drawn seat was right: its score grows by the fee that the job burned.
    Credit {
        /// Whose.
        provider: AccountBytes,
        /// The burned fee.
        burned: Amount,
    },
    /// Hold a deposit on an account.
    TakeDeposit {
        /// Whose.
        from: AccountBytes,
        /// How much.
        amount: Amount,
    },
    /// End a deposit: a part is burned, a part goes to the pot, the rest is free again.
    EndDeposit {
        /// Whose.
        from: AccountBytes,
        /// The whole of it.
        amount: Amount,
        /// The part that is burned.
        burned: Amount,
        /// The part that goes to the pot.
        to_pot: Amount,
    },
    /// Set part of the pot aside.
    ReservePot {
        /// How much.
        amount: Amount,
    },
    /// End what was set aside: a part is paid, a part burned, the rest is free again.
    SpendPot {
        /// The whole of it.
        reserved: Amount,
        /// The parts that are paid.
        payments: Vec<Payment>,
        /// The part that is burned.
        burned: Amount,
    },
    /// The package of a party is no longer needed.
    DropPackage {
        /// Whose.
        party: Party,
    },
    /// The job came to its end: append the record to the log.
    Record(Box<SettlementRecord>),
    /// Remove the job from the state.
    Close,
}

/// The job after an input, and what else follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The job's next state.
    pub job: Job,
    /// What the ledger carries out.
    pub effects: Vec<Effect>,
}
