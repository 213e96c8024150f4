//! A picture of every balance, hold and lock on the ledger, and of the issuance.

use std::collections::BTreeMap;

use assay_protocol::party::AccountBytes;
use assay_runtime::Balance;

/// What one account has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purse {
    pub free: Balance,
    pub held: Balance,
    pub stake: Balance,
    pub locked: Balance,
}

/// What everybody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Books {
    pub purses: BTreeMap<AccountBytes, Purse>,
    pub issuance: Balance,
}

impl Books {
    pub fn of(&mut self, who: AccountBytes) -> &mut Purse {
        self.purses.get_mut(&who).expect("the account is in the books")
    }

    /// The issuance shrinks.
    pub fn burn(&mut self, amount: Balance) {
        self.issuance -= amount;
    }

    /// The escrow goes: `spent` to others or the fire, the rest back.
    pub fn end_escrow(&mut self, requester: AccountBytes, escrow: Balance, spent: Balance) {
        self.of(requester).held -= escrow;
        self.of(requester).free += escrow - spent;
    }

    pub fn lock(&mut self, who: AccountBytes, amount: Balance) {
        self.of(who).locked += amount;
    }

    pub fn unlock(&mut self, who: AccountBytes, amount: Balance) {
        self.of(who).locked -= amount;
    }

    /// Locked stake is taken away; where it goes is booked by the caller.
    pub fn forfeit(&mut self, who: AccountBytes, amount: Balance) {
        let purse = self.of(who);
        purse.held -= amount;
        purse.stake -= amount;
        purse.locked -= amount;
    }
}
