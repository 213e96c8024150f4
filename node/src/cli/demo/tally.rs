//! Balances at four moments of a job: before it, while its escrow is held, settled with its bonds still
//! locked, and closed.

use assay_manifest::JobId;
use assay_runtime::{AccountId, Balance};
use serde::Serialize;

use crate::cli::job::Bought;
use crate::client::{Balances, Client, ClientError};
use crate::keys::Key;

/// What a job did to one account.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Who.
    pub who: String,
    /// Its account.
    pub account: AccountId,
    /// Before the request.
    pub before: Balances,
    /// Held for the job: the buyer's escrow, or the bond of a seat within a provider's stake.
    #[serde(serialize_with = "crate::client::decimal")]
    pub held: Balance,
    /// What came back of it: the refund, or the bond.
    #[serde(serialize_with = "crate::client::decimal")]
    pub released: Balance,
    /// After the challenge window has closed.
    pub after: Balances,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    balances: Balances,
    /// The part of a provider's stake that stands for seats.
    locked: Balance,
}

/// Takes the balances of a buyer and providers.
pub struct Tally {
    accounts: Vec<(String, AccountId)>,
    moments: Vec<Vec<Moment>>,
}

impl Tally {
    /// Nothing taken yet.
    pub fn new(buyer: &Key, providers: &[Key]) -> Self {
        let named = |key: &Key| (key.name.clone(), key.account());
        let accounts = std::iter::once(buyer).chain(providers).map(named).collect();
        Self { accounts, moments: Vec::new() }
    }

    /// Takes them now.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn take(&mut self, client: &Client) -> Result<(), ClientError> {
        let mut now = Vec::with_capacity(self.accounts.len());
        for (_, account) in &self.accounts {
            let balances = client.balances(account).await?;
            let locked = client.provider(account).await?.map_or(0, |provider| provider.locked.get());
            now.push(Moment { balances, locked });
        }
        self.moments.push(now);
        Ok(())
    }

    /// Shares of the buyer and of everybody who had a seat, once all four moments are taken.
    pub fn shares(&self, job: &Bought) -> Vec<Share> {
        let [before, asked, settled, closed] = self.moments.as_slice() else { return Vec::new() };
        let share = |index: usize, (who, account): &(String, AccountId)| {
            let [before, asked, settled, closed] =
                [before, asked, settled, closed].map(|moment| moment[index]);
            let escrow = asked.balances.held.saturating_sub(before.balances.held);
            let bond = settled.locked.saturating_sub(before.locked);
            let released = match escrow {
                0 => settled.locked.saturating_sub(closed.locked),
                _ => closed.balances.free.saturating_sub(asked.balances.free),
            };
            Share {
                who: who.clone(),
                account: account.clone(),
                before: before.balances,
                held: escrow.saturating_add(bond),
                released,
                after: closed.balances,
            }
        };
        let seated =
            |account: &AccountId| job.executor.as_ref() == Some(account) || job.verifiers.contains(account);
        let everybody = self.accounts.iter().enumerate();
        everybody
            .filter(|(index, (_, who))| *index == 0 || seated(who))
            .map(|(i, who)| share(i, who))
            .collect()
    }
}

/// Returns when a settled job has left the ledger: its challenge window is over and its bonds are free.
///
/// # Errors
/// [`ClientError`] when the connection breaks.
pub async fn closed(client: &Client, job: &JobId) -> Result<(), ClientError> {
    let mut heights = client.heights().await?;
    while client.job(job).await?.job.is_some() {
        heights.next().await?;
    }
    Ok(())
}
