//! How much the pool holds, against how much it may.

use std::collections::HashMap;

use assay_runtime::AccountId;

use super::{Config, PoolError, Transaction};

/// Room is taken in two steps: bytes and count when a transaction is submitted, its account's share only when
/// the ledger has confirmed the signature, so that nobody can use up the share of another.
pub(super) struct Quota {
    limits: Config,
    transactions: usize,
    bytes: usize,
    feeless: usize,
    by_account: HashMap<AccountId, usize>,
}

impl Quota {
    pub fn new(limits: Config) -> Self {
        Self { limits, transactions: 0, bytes: 0, feeless: 0, by_account: HashMap::new() }
    }

    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn take_room(&mut self, transaction: &Transaction) -> Result<(), PoolError> {
        let bytes = self.bytes.saturating_add(transaction.bytes().len());
        if self.transactions >= self.limits.transactions_max || bytes > self.limits.bytes_max {
            return Err(PoolError::Full);
        }
        self.transactions += 1;
        self.bytes = bytes;
        Ok(())
    }

    pub fn give_back_room(&mut self, transaction: &Transaction) {
        self.transactions = self.transactions.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(transaction.bytes().len());
    }

    pub fn take_share(&mut self, transaction: &Transaction) -> Result<(), PoolError> {
        let Some(account) = transaction.signer() else {
            if self.feeless >= self.limits.feeless_max {
                return Err(PoolError::Full);
            }
            self.feeless += 1;
            return Ok(());
        };
        let held = self.by_account.get(account).copied().unwrap_or_default();
        if held >= self.limits.account_max {
            return Err(PoolError::AccountFull(held));
        }
        self.by_account.insert(account.clone(), held + 1);
        Ok(())
    }

    pub fn give_back_share(&mut self, transaction: &Transaction) {
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
