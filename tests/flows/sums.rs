//! Whether money came from nowhere or went nowhere: everybody's balances together, and what blocks say was burned.

use assay_node::client::Client;
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
        let mut burned = 0;
        for height in self.height + 1..=now.height {
            burned += burned_at(client, height).await;
        }
        assert_eq!(self.everybody - now.everybody, burned);
        let holds: Result<(), Vec<u8>> = client.runtime("LedgerApi_check_invariants", ()).await.unwrap();
        assert_eq!(holds, Ok(()));
    }
}

async fn burned_at(client: &Client, height: u32) -> Balance {
    use pallet_balances::Event::{Burned, BurnedHeld};
    use pallet_transaction_payment::Event::TransactionFeePaid;
    let at: Hash = client.request("chain_getBlockHash", rpc_params![height]).await.unwrap();
    let events: Option<Vec<EventRecord<RuntimeEvent, Hash>>> =
        client.storage(&events_key(), Some(at)).await.unwrap();
    let burned = |record: EventRecord<RuntimeEvent, Hash>| match record.event {
        RuntimeEvent::Balances(Burned { amount, .. } | BurnedHeld { amount, .. }) => amount,
        RuntimeEvent::TransactionPayment(TransactionFeePaid { actual_fee, .. }) => actual_fee,
        _ => 0,
    };
    events.unwrap_or_default().into_iter().map(burned).sum()
}

/// What each of these has staked, in order.
pub async fn stakes(client: &Client, providers: &[AccountId]) -> Vec<Balance> {
    let mut stakes = Vec::new();
    for provider in providers {
        stakes.push(client.provider(provider).await.unwrap().unwrap().stake.get());
    }
    stakes
}
