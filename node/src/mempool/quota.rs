//! How much the pool holds, against how much it may.

use std::collections::HashMap;
use std::ops::AddAssign;

use assay_runtime::AccountId;

use super::{Config, PoolError, Transaction};

/// Transactions and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub transactions: usize,
    pub bytes: usize,
}

impl Room {
    pub fn of(transaction: &Transaction) -> Self {
        Self { transactions: 1, bytes: transaction.bytes().len() }
    }

    const fn without(self, other: Self) -> Self {
        Self {
            transactions: self.transactions.saturating_sub(other.transactions),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    /// Whether it is at least as much in both.
    pub const fn covers(self, other: Self) -> bool {
        self.transactions >= other.transactions && self.bytes >= other.bytes
    }
}

impl AddAssign for Room {
    fn add_assign(&mut self, other: Self) {
        self.transactions += other.transactions;
        self.bytes += other.bytes;
    }
}

/// What is being checked and what is in the pool are counted apart: an unproven signature takes nothing from
/// what is here, and nothing from its account's share.
pub(super) struct Quota {
    limits: Config,
    checking_paid: Room,
    checking_feeless: Room,
    held: Room,
    feeless: usize,
    by_account: HashMap<AccountId, usize>,
}

impl Quota {
    pub fn new(limits: Config) -> Self {
        Self {
            limits,
            checking_paid: Room::default(),
            checking_feeless: Room::default(),
            held: Room::default(),
            feeless: 0,
            by_account: HashMap::new(),
        }
    }

    /// Bytes of all transactions, those being checked included.
    pub const fn bytes(&self) -> usize {
        self.held.bytes + self.checking_paid.bytes + self.checking_feeless.bytes
    }

    pub fn begin_check(&mut self, transaction: &Transaction) -> Result<(), PoolError> {
        let limit = Room { transactions: self.limits.checking_max, bytes: self.limits.checking_bytes_max };
        let checking = self.checking(transaction);
        let mut sum = *checking;
        sum += Room::of(transaction);
        if !limit.covers(sum) {
            return Err(PoolError::Busy);
        }
        *checking = sum;
        Ok(())
    }

    pub fn end_check(&mut self, transaction: &Transaction) {
        let checking = self.checking(transaction);
        *checking = checking.without(Room::of(transaction));
    }

    /// Steps have a room of their own, so that no flood of paid calls keeps them from being looked at.
    const fn checking(&mut self, transaction: &Transaction) -> &mut Room {
        match transaction.signer() {
            Some(_) => &mut self.checking_paid,
            None => &mut self.checking_feeless,
        }
    }

    /// Whether the sender of a transaction may have one more here.
    pub fn check_share(&self, transaction: &Transaction) -> Result<(), PoolError> {
        let Some(account) = transaction.signer() else {
            return if self.feeless < self.limits.feeless_max { Ok(()) } else { Err(PoolError::Full) };
        };
        let held = self.by_account.get(account).copied().unwrap_or_default();
        if held < self.limits.account_max { Ok(()) } else { Err(PoolError::AccountFull(held)) }
    }

    /// What must leave the pool before a transaction can come in, when `leaving` leaves anyway.
    pub fn lacking(&self, transaction: &Transaction, leaving: Room) -> Room {
        let mut sum = self.held.without(leaving);
        sum += Room::of(transaction);
        sum.without(Room { transactions: self.limits.transactions_max, bytes: self.limits.bytes_max })
    }

    pub fn hold(&mut self, transaction: &Transaction) {
        self.held += Room::of(transaction);
        match transaction.signer() {
            Some(account) => *self.by_account.entry(account.clone()).or_default() += 1,
            None => self.feeless += 1,
        }
    }

    pub fn release(&mut self, transaction: &Transaction) {
        self.held = self.held.without(Room::of(transaction));
        let Some(account) = transaction.signer() else {
            self.feeless = self.feeless.saturating_sub(1);
            return;
        };
        match self.by_account.get_mut(account) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(self.by_account.remove(account)),
        }
    }
}
