//! Registers one dataset after the other.

use assay_manifest::{ArtifactId, sha256};
use assay_node::client::{Client, Entry, Registering};
use assay_node::keys::Key;
use assay_runtime::{Hash, Header};
use jsonrpsee::rpc_params;
use pallet_assay_artifacts::Subject;

pub struct Registrar {
    key: Key,
    /// Begun, so that none is tried twice: whether the last one before a kill was included is not known.
    begun: u32,
    /// What the node said was included, and in which block.
    acknowledged: Vec<(ArtifactId, Hash)>,
    checked: usize,
}

impl Registrar {
    pub fn new() -> Self {
        let key = Key::development("//Alice").unwrap();
        Self { key, begun: 0, acknowledged: vec![], checked: 0 }
    }

    pub fn count(&self) -> usize {
        self.acknowledged.len()
    }

    /// Registers without end.
    pub async fn work(&mut self, client: &Client) {
        loop {
            let number = self.begun;
            self.begun += 1;
            let id = ArtifactId::from_bytes(*sha256(&number.to_le_bytes()).as_bytes());
            let entry = Entry {
                subject: Subject::Dataset(id),
                size_bytes: 5,
                name: format!("storm-{number}").parse().unwrap(),
                license: Default::default(),
            };
            let what = Registering { entry: Some(entry), ..Registering::default() };
            let included = client.register(&self.key, what).await.unwrap();
            self.acknowledged.push((id, included.block));
        }
    }

    /// What was acknowledged since the last time is on the ledger, in the block that was named.
    pub async fn check_latest(&mut self, client: &Client) {
        for (id, block) in &self.acknowledged[self.checked..] {
            let artifact = client.artifact(&id.to_string()).await.unwrap().expect("it was acknowledged");
            assert!(artifact.registered_by(&self.key.account()).is_some());
            let header: Header = client.request("chain_getHeader", rpc_params![block]).await.unwrap();
            let canonical: Hash =
                client.request("chain_getBlockHash", rpc_params![header.number]).await.unwrap();
            assert_eq!(canonical, *block);
        }
        self.checked = self.acknowledged.len();
    }

    /// Everything that was ever acknowledged is on the ledger.
    pub async fn check_all(&self, client: &Client) {
        let on_ledger = client.registrations().await.unwrap();
        for (id, _) in &self.acknowledged {
            assert!(on_ledger.iter().any(|entry| entry.artifact_id == *id), "{id} was acknowledged");
        }
    }
}
