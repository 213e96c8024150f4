//! Whether money came from nowhere or went nowhere: everybody's balances together, and what blocks say was burned.

use assay_manifest::JobId;
use assay_node::client::Client;
use assay_protocol::job::Party;
use assay_protocol::params::Params;
use assay_protocol::party::AccountBytes;
use assay_runtime::executor::events_key;
use assay_runtime::{AccountId, Balance, Hash, Runtime, RuntimeEvent};
use frame_support::storage::generator::StorageMap as _;
use frame_system::{AccountInfo, EventRecord};
use jsonrpsee::rpc_params;
use pallet_balances::AccountData;

/// What all accounts have at a height, with escrows, stakes and deposits.
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    height: u32,
    everybody: Balance,
}

impl Sums {
    pub async fn read(client: &Client) -> Self {
        let height = client.height().await.unwrap();
        let at: Hash = client.request("chain_getBlockHash", rpc_params![height]).await.unwrap();
        let prefix = format!("0x{}", hex::encode(frame_system::Account::<Runtime>::prefix_hash()));
        let page = rpc_params![prefix, 1_000, Option::<String>::None, at];
        let keys: Vec<String> = client.request("state_getKeysPaged", page).await.unwrap();
        assert!(keys.len() < 1_000);
        let mut everybody = 0;
        for key in keys {
            let key = hex::decode(key.trim_start_matches("0x")).unwrap();
            let info: AccountInfo<u32, AccountData<Balance>> =
                client.storage(&key, Some(at)).await.unwrap().unwrap();
            everybody += info.data.free + info.data.reserved;
        }
        let issuance = pallet_balances::TotalIssuance::<Runtime>::hashed_key();
        let issuance: Balance = client.storage(&issuance, Some(at)).await.unwrap().unwrap();
        assert_eq!(everybody, issuance, "some tokens are nobody's, or somebody's twice");
        Self { height, everybody }
    }

    /// What has gone since is what was burned, and the ledger's own invariants hold.
    pub async fn check(&self, client: &Client) {
        let now = Self::read(client).await;
        let events = self.events(client, now.height).await;
        assert_eq!(self.everybody - now.everybody, events.iter().map(burned).sum::<Balance>());
        let holds: Result<(), Vec<u8>> = client.runtime("LedgerApi_check_invariants", ()).await.unwrap();
        assert_eq!(holds, Ok(()));
    }

    /// What each of these has paid since for data that it asked for on the ledger (clause J12): a machine with too much
    /// to do may have to.
    pub async fn paid_for_packages(&self, client: &Client, providers: &[AccountId]) -> Vec<Balance> {
        use pallet_assay_jobs::Event::Posted;
        let mut paid = vec![0; providers.len()];
        let until = client.height().await.unwrap();
        for event in self.events(client, until).await {
            let RuntimeEvent::Jobs(Posted { job, party: Party::Seat(index), bytes }) = event else {
                continue;
            };
            let who = provider_of(client, &job, index).await;
            let of = providers.iter().position(|provider| *provider == who);
            if let Some(paid) = of.and_then(|number| paid.get_mut(number)) {
                *paid += Params::DEVELOPMENT.post_fee(bytes).unwrap().get();
            }
        }
        paid
    }

    /// What has happened since, up to a height.
    async fn events(&self, client: &Client, until: u32) -> Vec<RuntimeEvent> {
        let mut all = Vec::new();
        for height in self.height + 1..=until {
            let at: Hash = client.request("chain_getBlockHash", rpc_params![height]).await.unwrap();
            let events: Option<Vec<EventRecord<RuntimeEvent, Hash>>> =
                client.storage(&events_key(), Some(at)).await.unwrap();
            all.extend(events.unwrap_or_default().into_iter().map(|record| record.event));
        }
        all
    }
}

/// Who has a seat: as the job says while it is open, since a fresh look may have added some, and then as its record does.
async fn provider_of(client: &Client, job: &JobId, index: u8) -> AccountId {
    let seats: Vec<(u8, AccountBytes)> = match client.job_on_ledger(job).await.unwrap() {
        Some(job) => job.seats.iter().map(|seat| (seat.index, seat.provider)).collect(),
        None => {
            let record = client.job(job).await.unwrap().settlement.expect("a closed job has a record");
            record.seats.iter().map(|seat| (seat.index, seat.provider)).collect()
        }
    };
    seats.into_iter().find(|seat| seat.0 == index).expect("a drawn seat").1.into()
}

fn burned(event: &RuntimeEvent) -> Balance {
    use pallet_balances::Event::{Burned, BurnedHeld};
    use pallet_transaction_payment::Event::TransactionFeePaid;
    match event {
        RuntimeEvent::Balances(Burned { amount, .. } | BurnedHeld { amount, .. }) => *amount,
        RuntimeEvent::TransactionPayment(TransactionFeePaid { actual_fee, .. }) => *actual_fee,
        _ => 0,
    }
}

/// What each of these has staked, in order.
pub async fn stakes(client: &Client, providers: &[AccountId]) -> Vec<Balance> {
    let mut stakes = Vec::new();
    for provider in providers {
        stakes.push(client.provider(provider).await.unwrap().unwrap().stake.get());
    }
    stakes
}
