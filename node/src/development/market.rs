//! Setting a development chain up through JSON-RPC, as any user would.

use std::path::Path;

use assay_manifest::lineage::{Edge, EdgeKind, Evidence};
use assay_manifest::{ArtifactId, ArtifactKind, ArtifactName, Digest32, ModelId, SpecId};
use assay_protocol::units::Price;
use assay_runtime::{RuntimeCall, UNIT};
use frame_support::BoundedVec;
use futures::future::try_join_all;
use pallet_assay_artifacts::{License, Subject};
use pallet_assay_providers::{Call, HardwareClass, ModelOffer, Offer};

use super::files::{DemoFiles, dataset_manifest, recipe_hash};
use crate::client::{Client, ClientError, Entry, ImportFiles, Imported, StatedEdge, SubmitError};
use crate::keys::{Key, KeyError, PublishedKeys, Seller};
use crate::worker::Served;

/// Stake of each development provider.
const STAKE: u128 = 1_000 * UNIT;
/// Executions that one provider takes at the same time.
const CAPACITY: u32 = 8;
/// Prices of a million tokens.
const INPUT_PRICE: Price = Price::new(1_000 * UNIT);
const OUTPUT_PRICE: Price = Price::new(2_000 * UNIT);
const VERIFY_PRICE: Price = Price::new(500 * UNIT);
/// The licence of the demo model and its corpus, as of everything here.
const LICENSE: &str = "Apache-2.0";

/// The development chain could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The files could not be written.
    #[error("writing the demo model's files: {0}")]
    Files(#[from] std::io::Error),
    /// The dataset's manifest is damaged.
    #[error("reading the demo dataset's manifest: {0}")]
    Dataset(#[from] serde_json::Error),
    /// A provider is not one of development.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The node refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The ledger refused.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Something of ours is not as it should be.
    #[error("setting the development chain up: {0}")]
    Inconsistent(&'static str),
}

/// The demo model's provenance on the ledger.
#[derive(Clone, Debug)]
pub struct Published {
    /// The source of the corpus's generator.
    pub generator: Imported,
    /// The corpus.
    pub dataset: ArtifactId,
    /// The trained model.
    pub trained: Imported,
    /// The quantised model, which is served.
    pub quantised: Imported,
    /// The quantised model's id.
    pub model_id: ModelId,
    /// The definitions by which the node executes it.
    pub spec_id: SpecId,
    /// Statements about what was made from what.
    pub edges: Vec<Edge>,
}

/// Imports the demo model and registers it with its provenance as `publisher`. Nothing happens twice.
///
/// # Errors
/// [`SetupError`] when the node or the ledger refuses.
pub async fn publish(client: &Client, publisher: &Key, dir: &Path) -> Result<Published, SetupError> {
    let files = DemoFiles::write(dir)?;
    let corpus = dataset_manifest()?;
    let (dataset, corpus_bytes) = (corpus.artifact_id(), corpus.size_bytes());
    let generator = import(client, &files.generator, ArtifactKind::Dataset, "demo-generator").await?;
    let trained = import(client, &files.trained, ArtifactKind::Model, "demo-f16").await?;
    let quantised = import(client, &files.quantised, ArtifactKind::Model, "demo").await?;
    let model_id = quantised.model_id.ok_or(SetupError::Inconsistent("the demo file is not a model"))?;
    let spec_id = quantised.spec_id.ok_or(SetupError::Inconsistent("no engine here runs the demo model"))?;
    let edges = edges(&generator, dataset, &trained, &quantised);
    let published = Published { generator, dataset, trained, quantised, model_id, spec_id, edges };
    published.register(client, publisher, corpus_bytes).await?;
    Ok(published)
}

/// Who was made from what. Training gives the same weights on equal CPUs only, so nothing stronger than an
/// assertion is claimed of it; the generator and the quantisation give the same bytes everywhere.
fn edges(generator: &Imported, dataset: ArtifactId, trained: &Imported, quantised: &Imported) -> Vec<Edge> {
    let edge = |kind, child, parent, evidence, recipe| Edge { kind, child, parent, evidence, recipe };
    let (recipe, none) = (recipe_hash(), Digest32::ZERO);
    let (generator, trained, quantised) = (generator.artifact_id, trained.artifact_id, quantised.artifact_id);
    vec![
        edge(EdgeKind::GeneratedBy, dataset, generator, Evidence::Exact, none),
        edge(EdgeKind::TrainedOn, trained, dataset, Evidence::Asserted, recipe),
        edge(EdgeKind::QuantizedFrom, quantised, trained, Evidence::Exact, none),
    ]
}

async fn import(
    client: &Client,
    path: &Path,
    kind: ArtifactKind,
    name: &str,
) -> Result<Imported, SetupError> {
    let name = name.parse().map_err(|_| SetupError::Inconsistent("a demo name is malformed"))?;
    let path = path.to_str().ok_or(SetupError::Inconsistent("the data directory's name is not UTF-8"))?;
    let files = ImportFiles { path, kind, name: Some(&name), expected: None };
    Ok(client.import(files, |_| {}).await?)
}

impl Published {
    /// What an offer of the model names.
    pub const fn served(&self) -> Served {
        Served { model_id: self.model_id, spec_id: self.spec_id }
    }

    async fn register(&self, client: &Client, publisher: &Key, corpus_bytes: u64) -> Result<(), SetupError> {
        let generator = &self.generator;
        let entries = [
            (Subject::Dataset(generator.artifact_id), generator.size_bytes, "demo-generator"),
            (Subject::Dataset(self.dataset), corpus_bytes, "demo-corpus"),
            (self.trained.subject(), self.trained.size_bytes, "demo-f16"),
            (self.quantised.subject(), self.quantised.size_bytes, "demo"),
        ];
        let mut calls = Vec::new();
        for (subject, size_bytes, name) in entries {
            let known = client.artifact(&subject.artifact().to_string()).await?;
            if known.is_none_or(|known| known.registered_by(&publisher.account()).is_none()) {
                calls.push(entry(subject, size_bytes, name)?.call());
            }
        }
        for edge in &self.edges {
            let known = client.artifact(&edge.child.to_string()).await?;
            let own = |stated: &StatedEdge| stated.edge == *edge && stated.account == publisher.account();
            if !known.iter().flat_map(|known| &known.edges).any(own) {
                calls.push(pallet_assay_artifacts::Call::state_edge { edge: *edge }.into());
            }
        }
        if !calls.is_empty() {
            client.submit_all(publisher, "registering the demo model", calls).await?;
        }
        Ok(())
    }
}

fn entry(subject: Subject, size_bytes: u64, name: &str) -> Result<Entry, SetupError> {
    let name: ArtifactName =
        name.parse().map_err(|_| SetupError::Inconsistent("a demo name is malformed"))?;
    let license = License::try_from(LICENSE.as_bytes().to_vec());
    let license = license.map_err(|_| SetupError::Inconsistent("the demo licence is too long"))?;
    Ok(Entry { subject, size_bytes, name, license })
}

/// Has every provider stake and offer the model at its node, unless it does already, and waits until the offers are in
/// force and each node has loaded the model.
///
/// # Errors
/// [`SetupError`] when a node or the ledger refuses.
pub async fn open_market(providers: &[(&Client, &Key)], model: Served) -> Result<(), SetupError> {
    try_join_all(providers.iter().map(|(client, provider)| offer(client, provider, model))).await?;
    try_join_all(providers.iter().map(|(client, _)| opened(client, providers.len(), model))).await?;
    Ok(())
}

/// Waits until a node knows so many offers of the model to be in force, and has loaded it.
async fn opened(client: &Client, offers: usize, model: Served) -> Result<(), SetupError> {
    let mut heights = client.heights().await?;
    let Served { model_id, spec_id } = model;
    while client.serving(&model_id, Some(&spec_id)).await?.len() < offers || !client.serves(&model_id).await?
    {
        heights.next().await?;
    }
    Ok(())
}

async fn offer(client: &Client, provider: &Key, model: Served) -> Result<(), SetupError> {
    let known = client.provider(&provider.account()).await?;
    let offers = known.as_ref().and_then(|known| known.latest_offer());
    let Served { model_id, spec_id } = model;
    let terms = offers.and_then(|offer| offer.terms(&model_id));
    if terms.is_some_and(|terms| terms.spec_id == spec_id) {
        return Ok(());
    }
    let mut calls: Vec<RuntimeCall> = Vec::new();
    if known.is_none() {
        let PublishedKeys { work_key, encryption_key } = Seller::development(&provider.name)?.published();
        let work_key = *work_key.as_bytes();
        calls.push(Call::stake { amount: STAKE, work_key, encryption_key }.into());
    }
    let (input, output, verify) = (INPUT_PRICE, OUTPUT_PRICE, VERIFY_PRICE);
    let terms = ModelOffer { model_id, spec_id, input, output, verify };
    let models = BoundedVec::truncate_from(vec![terms]);
    let offer = Offer { models, hardware: HardwareClass::CpuSmall, capacity: CAPACITY, at_large: None };
    calls.push(Call::set_offer { offer }.into());
    client.submit_all(provider, "offering the demo model", calls).await?;
    Ok(())
}
