//! Who trades on a development chain, and what is bought there.

use assay_manifest::ModelId;
use assay_node::chain_spec::development_providers;
use assay_node::client::{Balances, Client, Wish};
use assay_node::keys::Key;
use assay_node::rpc::Ask;
use assay_protocol::record::{Policy, Prices};
use assay_protocol::request::{Message, Prompt};
use assay_protocol::units::Price;
use assay_runtime::UNIT;

/// Everybody who may gain or lose by a job.
pub struct Parties {
    pub buyer: Key,
    pub providers: Vec<Key>,
}

impl Parties {
    pub fn new() -> Self {
        Self { buyer: Key::development("//Bob").unwrap(), providers: development_providers().unwrap() }
    }

    /// The buyer's, then the providers'.
    pub async fn balances(&self, client: &Client) -> Vec<Balances> {
        let head = client.request("chain_getFinalizedHead", jsonrpsee::rpc_params![]).await.unwrap();
        let mut all = vec![];
        for key in std::iter::once(&self.buyer).chain(&self.providers) {
            all.push(client.balances_at(&key.account(), Some(head)).await.unwrap());
        }
        all
    }
}

/// A short answer of two verifiers, at what the development providers ask.
pub fn wish(model_id: ModelId, question: String) -> Wish {
    Wish {
        ask: Ask::greedy(
            model_id,
            Prompt::Chat(vec![Message { role: "user".into(), content: question }]),
            16,
        ),
        seed: None,
        policy: Policy::Verified { verifiers: 2 },
        prices: Prices {
            input: Price::new(1_000 * UNIT),
            output: Price::new(2_000 * UNIT),
            verify_max: Price::new(1_000 * UNIT),
        },
        direct_executor: None,
    }
}
