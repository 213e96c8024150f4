//! Balances at moments of a job: before it, while its escrow is held, settled with its bonds still locked, and
//! from then on in every block until it is closed.

use assay_manifest::JobId;
use assay_protocol::job::SettlementRecord;
use assay_runtime::{AccountId, Balance};
use serde::Serialize;

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

    /// Takes them in every block until a settled job has left the ledger: its challenge window is over and its bonds
    /// are free. Answers the last record of the job.
    ///
    /// # Errors
    /// [`ClientError`] when the connection breaks.
    pub async fn take_until_closed(
        &mut self,
        client: &Client,
        job: &JobId,
    ) -> Result<Option<SettlementRecord>, ClientError> {
        let mut heights = client.heights().await?;
        loop {
            let state = client.job(job).await?;
            self.take(client).await?;
            if state.job.is_none() {
                return Ok(state.settlement);
            }
            heights.next().await?;
        }
    }

    /// Shares of the buyer and of everybody who had a seat, once the job is closed.
    pub fn shares(&self, record: &SettlementRecord) -> Vec<Share> {
        let ([before, asked, ..], Some(closed)) = (self.moments.as_slice(), self.moments.last()) else {
            return Vec::new();
        };
        let share = |index: usize, (who, account): &(String, AccountId)| {
            let [before, asked, closed] = [before, asked, closed].map(|moment| moment[index]);
            let escrow = asked.balances.held.saturating_sub(before.balances.held);
            let locked = self.moments.iter().map(|moment| moment[index].locked).max().unwrap_or(0);
            let released = match escrow {
                0 => locked.saturating_sub(closed.locked),
                _ => closed.balances.free.saturating_sub(asked.balances.free),
            };
            Share {
                who: who.clone(),
                account: account.clone(),
                before: before.balances,
                held: escrow.saturating_add(locked.saturating_sub(before.locked)),
                released,
                after: closed.balances,
            }
        };
        let seated =
            |account: &AccountId| record.seats.iter().any(|seat| AccountId::from(seat.provider) == *account);
        let everybody = self.accounts.iter().enumerate();
        everybody
            .filter(|(index, (_, who))| *index == 0 || seated(who))
            .map(|(i, who)| share(i, who))
            .collect()
    }
}
