//! `provider_v1_*`: sellers of compute, as the ledger has them.

use assay_manifest::{Digest32, ModelId, SpecId};
use assay_protocol::units::{Amount, Height, Price};
use assay_runtime::AccountId;
use assay_runtime::queries::{PAGE_MAX, ProviderEntry};
use jsonrpsee::core::RegisterMethodError;
use pallet_assay_providers::{AtLarge, HardwareClass, Offer};
use serde::Serialize;

use super::error::{Code, RpcError};
use super::feed::Registry;
use super::params::Args;
use super::service::Backend;
use crate::ledger::LedgerHandle;

/// Providers of a page when nobody says how many.
const PAGE_DEFAULT: u32 = 100;

pub fn register(methods: &mut Registry<Backend>) -> Result<(), RegisterMethodError> {
    methods
        .method("provider_v1_get", |backend, mut args| async move {
            let account = args.account("account")?;
            args.finish()?;
            get(&backend.ledger, account).await
        })?
        .method("provider_v1_list", |backend, args| async move { list(&backend.ledger, args).await })?;
    Ok(())
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProviderView {
    account: AccountId,
    stake: Amount,
    locked: Amount,
    unbonding: Vec<UnbondingView>,
    work_key: Digest32,
    encryption_key: Digest32,
    score: Amount,
    barred_until: Height,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<OfferView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_offer: Option<PendingView>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct UnbondingView {
    amount: Amount,
    release_at: Height,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfferView {
    models: Vec<TermsView>,
    hardware: &'static str,
    capacity: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_large: Option<AtLargeView>,
}

/// The price of a verified token, in base units per million.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct AtLargeView {
    verify: Price,
    weights_max_bytes: u64,
}

/// Base units per million model tokens.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct TermsView {
    model_id: ModelId,
    spec_id: SpecId,
    input: Price,
    output: Price,
    verify: Price,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct PendingView {
    offer: OfferView,
    effective_at: Height,
}

impl From<ProviderEntry> for ProviderView {
    fn from((account, provider, offer, pending): ProviderEntry) -> Self {
        let unbonding = provider.unbonding.iter().map(|portion| UnbondingView {
            amount: Amount::new(portion.amount),
            release_at: Height::new(portion.release_at),
        });
        Self {
            account,
            stake: Amount::new(provider.stake),
            locked: Amount::new(provider.locked),
            unbonding: unbonding.collect(),
            work_key: Digest32::from_bytes(provider.work_key),
            encryption_key: provider.encryption_key,
            score: Amount::new(provider.score),
            barred_until: Height::new(provider.barred_until),
            offer: offer.map(OfferView::from),
            pending_offer: pending.map(|pending| PendingView {
                offer: pending.offer.into(),
                effective_at: Height::new(pending.effective_at),
            }),
        }
    }
}

impl From<Offer> for OfferView {
    fn from(offer: Offer) -> Self {
        let terms = offer.models.into_iter().map(|terms| TermsView {
            model_id: terms.model_id,
            spec_id: terms.spec_id,
            input: terms.input,
            output: terms.output,
            verify: terms.verify,
        });
        let hardware = match offer.hardware {
            HardwareClass::CpuSmall => "cpuSmall",
            HardwareClass::CpuLarge => "cpuLarge",
            HardwareClass::Gpu => "gpu",
        };
        let at_large = offer
            .at_large
            .map(|AtLarge { verify, weights_max_bytes }| AtLargeView { verify, weights_max_bytes });
        Self { models: terms.collect(), hardware, capacity: offer.capacity, at_large }
    }
}

async fn get(ledger: &LedgerHandle, account: AccountId) -> Result<ProviderView, RpcError> {
    let found: Option<ProviderEntry> = ledger.query(None, "ProvidersApi_provider", &account).await?;
    found.map(Into::into).ok_or_else(|| {
        RpcError::new(Code::ProviderNotFound, format!("the account {account} has never staked"))
    })
}

#[derive(Clone, Serialize)]
struct Page {
    items: Vec<ProviderView>,
    cursor: Option<AccountId>,
}

async fn list(ledger: &LedgerHandle, mut args: Args) -> Result<Page, RpcError> {
    let after: Option<AccountId> = args.optional("cursor")?;
    let limit = args.optional("limit")?.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
    let model: Option<ModelId> = args.optional("model")?;
    let spec: Option<SpecId> = args.optional("spec")?;
    args.finish()?;
    match model {
        Some(model) => Ok(Page { items: serving(ledger, model, spec).await?, cursor: None }),
        None if spec.is_some() => Err(RpcError::params("spec: it needs a model")),
        None => {
            let found: Vec<ProviderEntry> = ledger.query(None, "ProvidersApi_list", (after, limit)).await?;
            let full = u32::try_from(found.len()).is_ok_and(|count| count == limit);
            let cursor = found.last().filter(|_| full).map(|(account, ..)| account.clone());
            Ok(Page { items: found.into_iter().map(Into::into).collect(), cursor })
        }
    }
}

/// Who serves a model by a spec: at most 256, so one page holds them all; or, by any spec, the first of them.
async fn serving(
    ledger: &LedgerHandle,
    model: ModelId,
    spec: Option<SpecId>,
) -> Result<Vec<ProviderView>, RpcError> {
    let at = Some(ledger.head().hash());
    let accounts: Vec<AccountId> = ledger.query(at, "ProvidersApi_serving", (model, spec)).await?;
    let mut providers = Vec::with_capacity(accounts.len());
    for account in accounts {
        let entry: Option<ProviderEntry> = ledger.query(at, "ProvidersApi_provider", account).await?;
        providers.extend(entry.map(ProviderView::from));
    }
    Ok(providers)
}
