//! What everybody must have: by the records of jobs, and by the fees and charges of the blocks.

use assay_manifest::JobId;
use assay_node::client::{Balances, Client, Order};
use assay_node::keys::Key;
use assay_protocol::job::Party;
use assay_protocol::job::SettlementRecord;
use assay_protocol::params::Params;
use assay_runtime::executor::events_key;
use assay_runtime::{AccountId, Balance, Hash, RuntimeEvent};
use frame_system::EventRecord;
use jsonrpsee::rpc_params;

use crate::parties::Parties;

/// The balances of a development chain's parties, as jobs and transactions move them.
pub struct Tally {
    pub parties: Parties,
    /// The buyer's, then the providers'.
    expected: Vec<Balances>,
    /// The height up to which transaction fees are booked.
    read_to: u32,
    /// What seats pay for packages on the ledger: job, seat, bytes. Booked with the job's record, which says who sat
    /// there.
    posted: Vec<(JobId, u8, u32)>,
}

impl Tally {
    pub async fn open(client: &Client, parties: Parties) -> Self {
        let read_to = client.height().await.unwrap();
        Self { expected: parties.balances(client).await, parties, read_to, posted: vec![] }
    }

    /// Books a job that has been closed, with what its blocks say.
    pub async fn book(&mut self, client: &Client, record: &SettlementRecord) {
        self.read_blocks(client).await;
        // From here on at once: a kill may interrupt whatever is awaited.
        let paid = &record.payments;
        let spent = [paid.executor, paid.verifiers, paid.pot, paid.burned];
        self.expected[0].free -= spent.iter().map(|part| part.get()).sum::<Balance>();
        for seat in &record.seats {
            let provider = self.of(&seat.provider.into()).expect("a development provider");
            provider.free += seat.paid.get();
        }
        let posted = std::mem::take(&mut self.posted);
        for (_, seat, bytes) in posted.into_iter().filter(|(job, ..)| *job == record.job) {
            let claimant = record.seats.iter().find(|known| known.index == seat).expect("a drawn seat");
            let fee = Params::DEVELOPMENT.post_fee(bytes).unwrap().get();
            self.of(&claimant.provider.into()).expect("a development provider").held -= fee;
        }
    }

    /// Compares with the ledger while no job is open.
    pub async fn check(&self, client: &Client) {
        assert_eq!(self.parties.balances(client).await, self.expected, "everybody is paid once");
    }

    /// Reads the blocks since the last time. States are kept for a while only, so it is done after each restart.
    pub async fn read_blocks(&mut self, client: &Client) {
        for height in self.read_to + 1..=client.height().await.unwrap() {
            let hash: Hash = client.request("chain_getBlockHash", rpc_params![height]).await.unwrap();
            let events: Option<Vec<EventRecord<RuntimeEvent, Hash>>> =
                client.storage(&events_key(), Some(hash)).await.unwrap();
            for record in events.unwrap_or_default() {
                self.read(record.event);
            }
            self.read_to = height;
        }
    }

    fn read(&mut self, event: RuntimeEvent) {
        use pallet_assay_jobs::Event::Posted;
        use pallet_transaction_payment::Event::TransactionFeePaid;
        match event {
            RuntimeEvent::TransactionPayment(TransactionFeePaid { who, actual_fee, .. }) => {
                if let Some(payer) = self.of(&who) {
                    payer.free -= actual_fee;
                }
            }
            RuntimeEvent::Jobs(Posted { job, party: Party::Seat(seat), bytes }) => {
                self.posted.push((job, seat, bytes));
            }
            _ => {}
        }
    }

    fn of(&mut self, account: &AccountId) -> Option<&mut Balances> {
        let keys: Vec<&Key> = std::iter::once(&self.parties.buyer).chain(&self.parties.providers).collect();
        let index = keys.iter().position(|key| key.account() == *account)?;
        self.expected.get_mut(index)
    }
}

/// The last record of a job, once nobody can look at it again.
pub async fn closed(client: &Client, order: &Order) -> SettlementRecord {
    let mut heights = client.heights().await.unwrap();
    loop {
        let state = client.job(&order.job).await.unwrap();
        if state.job.is_none() {
            return state.settlement.unwrap();
        }
        heights.next().await.unwrap();
    }
}
