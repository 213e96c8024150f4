//! Balances at three moments: before the job, while it holds its escrow and bonds, and after.

use assay_runtime::AccountId;
use serde::Serialize;

use crate::cli::job::Bought;
use crate::client::{Balances, Client, ClientError};
use crate::keys::Key;

/// The balances of one account.
#[derive(Clone, Debug, Serialize)]
pub struct Taken {
    /// Who.
    pub who: String,
    /// Its account.
    pub account: AccountId,
    /// Before the request.
    pub before: Balances,
    /// While the job was open.
    pub held: Balances,
    /// After the settlement.
    pub after: Balances,
}

/// Takes them.
pub struct Tally {
    accounts: Vec<(String, AccountId)>,
    taken: Vec<Vec<Balances>>,
}

impl Tally {
    /// Of a buyer and providers.
    pub fn new(buyer: &Key, providers: &[Key]) -> Self {
        let named = |key: &Key| (key.name.clone(), key.account());
        let accounts = std::iter::once(buyer).chain(providers).map(named).collect();
        Self { accounts, taken: Vec::new() }
    }

    /// Takes them now.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn take(&mut self, client: &Client) -> Result<(), ClientError> {
        let mut now = Vec::with_capacity(self.accounts.len());
        for (_, account) in &self.accounts {
            now.push(client.balances(account).await?);
        }
        self.taken.push(now);
        Ok(())
    }

    /// Those of the buyer and of everybody who had a seat.
    pub fn of_job(&self, job: &Bought) -> Vec<Taken> {
        let [before, held, after] = self.taken.as_slice() else { return Vec::new() };
        let moments = before.iter().zip(held).zip(after);
        let seated =
            |account: &AccountId| job.executor.as_ref() == Some(account) || job.verifiers.contains(account);
        self.accounts
            .iter()
            .zip(moments)
            .enumerate()
            .filter(|(index, ((_, account), _))| *index == 0 || seated(account))
            .map(|(_, ((who, account), ((before, held), after)))| Taken {
                who: who.clone(),
                account: account.clone(),
                before: *before,
                held: *held,
                after: *after,
            })
            .collect()
    }
}
