//! Sellers of compute, as a node tells about them.

use assay_manifest::{Digest32, ModelId, SpecId};
use assay_protocol::units::{Amount, Height, Price};
use assay_runtime::AccountId;
use jsonrpsee::rpc_params;
use pallet_assay_providers::HardwareClass;
use serde::{Deserialize, Serialize};

use super::chain::{Client, ClientError};

/// A provider on the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// Its account.
    pub account: AccountId,
    /// Locked and free, without what is unbonding.
    pub stake: Amount,
    /// The part that stands for seats.
    pub locked: Amount,
    /// Stake on its way out.
    pub unbonding: Vec<Unbonding>,
    /// The key that signs job steps.
    pub work_key: Digest32,
    /// The X25519 key to which inputs are sealed.
    pub encryption_key: Digest32,
    /// Decayed fee burned on drawn, settled jobs.
    pub score: Amount,
    /// Not drawn before this height.
    pub barred_until: Height,
    /// In force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// Announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_offer: Option<PendingOffer>,
}

impl Provider {
    /// Stake that can be drawn upon or taken out.
    pub fn free_stake(&self) -> Amount {
        self.stake.minus(self.locked).unwrap_or(Amount::ZERO)
    }

    /// The offer that was announced last, in force or not.
    pub fn latest_offer(&self) -> Option<&Offer> {
        self.pending_offer.as_ref().map(|pending| &pending.offer).or(self.offer.as_ref())
    }
}

/// A portion of stake on its way out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unbonding {
    /// How much.
    pub amount: Amount,
    /// From this height on it can be taken.
    pub release_at: Height,
}

/// What a provider serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// Each model once.
    pub models: Vec<Terms>,
    /// What they run on.
    pub hardware: Hardware,
    /// Executions at the same time.
    pub capacity: u32,
    /// Whether it verifies other models, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_large: Option<AtLarge>,
}

/// The terms on which a provider verifies models that it does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AtLarge {
    /// For a verified token, in base units per million.
    pub verify: Price,
    /// The largest model that it would fetch, in bytes.
    pub weights_max_bytes: u64,
}

impl Offer {
    /// The terms for a model, by whatever definitions.
    pub fn terms(&self, model: &ModelId) -> Option<&Terms> {
        self.models.iter().find(|terms| terms.model_id == *model)
    }
}

/// The terms for one model, in base units per million tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// The exact model.
    pub model_id: ModelId,
    /// The definitions by which the provider executes it.
    pub spec_id: SpecId,
    /// For a prompt token.
    pub input: Price,
    /// For a generated token.
    pub output: Price,
    /// For a verified token.
    pub verify: Price,
}

/// An announced offer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingOffer {
    /// The offer.
    pub offer: Offer,
    /// In force from this height on.
    pub effective_at: Height,
}

/// What kind of machine serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Hardware {
    /// Models up to about 4 GB on a CPU.
    CpuSmall,
    /// Models up to about 64 GB on a CPU.
    CpuLarge,
    /// One accelerator.
    Gpu,
}

impl Hardware {
    /// The word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CpuSmall => "cpu-small",
            Self::CpuLarge => "cpu-large",
            Self::Gpu => "gpu",
        }
    }
}

impl From<Hardware> for HardwareClass {
    fn from(hardware: Hardware) -> Self {
        match hardware {
            Hardware::CpuSmall => Self::CpuSmall,
            Hardware::CpuLarge => Self::CpuLarge,
            Hardware::Gpu => Self::Gpu,
        }
    }
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Provider>,
    cursor: Option<AccountId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Executed {
    spec_id: SpecId,
}

impl Client {
    /// A provider; none where the account has never staked.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn provider(&self, account: &AccountId) -> Result<Option<Provider>, ClientError> {
        const NOT_FOUND: i32 = 21_001;
        match self.request("provider_v1_get", rpc_params![account]).await {
            Err(ClientError::Refused { code: NOT_FOUND, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Every provider.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn providers(&self) -> Result<Vec<Provider>, ClientError> {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page: Page = self.request("provider_v1_list", rpc_params![cursor]).await?;
            found.extend(page.items);
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(found);
            }
        }
    }

    /// Those that serve a model by a spec; or, by any, the first 256 of them.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn serving(
        &self,
        model: &ModelId,
        spec: Option<&SpecId>,
    ) -> Result<Vec<Provider>, ClientError> {
        let params = rpc_params![Option::<AccountId>::None, Option::<u32>::None, model, spec];
        let page: Page = self.request("provider_v1_list", params).await?;
        Ok(page.items)
    }

    /// The spec by which the node executes a model, loaded or not: what an offer of it there has to name, and what
    /// requests that the node prepares name.
    ///
    /// # Errors
    /// [`ClientError`] when the model is not in the node's store, or no engine of it runs the model.
    pub async fn spec(&self, model: &ModelId) -> Result<SpecId, ClientError> {
        let found: Executed = self.request_of_model("job_v1_spec", rpc_params![model]).await?;
        Ok(found.spec_id)
    }
}
