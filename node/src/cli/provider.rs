//! `assay provider`: sell compute.

use assay_manifest::ModelId;
use assay_protocol::units::{Height, Price};
use assay_runtime::{AccountId, Balance, Hash, Runtime, RuntimeCall, RuntimeEvent};
use clap::{Args, Subcommand};
use jsonrpsee::rpc_params;
use pallet_assay_providers::{Call, Event, ModelOffer};
use serde::Serialize;

use super::artifact::{account_of, model_of};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::key::public_keys;
use super::output::{parse_price, parse_tokens, tokens};
use super::table;
use crate::client::{Client, Hardware, Included, Offer, Provider, Terms};
use crate::keys::Key;

/// What is to be done as a provider, or seen of providers.
#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// Stake tokens that stand for your answers, and publish your keys.
    Stake {
        /// Tokens, such as 1000 or 0.5.
        #[arg(value_parser = parse_tokens)]
        amount: Balance,
    },
    /// Announce terms for a model; terms for other models stay as they are.
    Offer(OfferArgs),
    /// Show a provider.
    Show {
        /// Address, name of a key, or development URI; your own account if absent.
        account: Option<String>,
    },
    /// List providers.
    List {
        /// Only those that serve this model: an id, ACCOUNT/NAME or NAME.
        #[arg(long)]
        model: Option<String>,
    },
    /// Begin to take stake out; it is released after the unbonding window.
    Unstake {
        /// Tokens, such as 1000 or 0.5.
        #[arg(value_parser = parse_tokens)]
        amount: Balance,
    },
    /// Take back stake that has been released.
    Withdraw,
}

impl ProviderCommand {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] when the node or the ledger refuses.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Stake { amount } => stake(context, amount).await,
            Self::Offer(offer) => offer.run(context).await,
            Self::Show { account } => show(context, account.as_deref()).await,
            Self::List { model } => list(context, model.as_deref()).await,
            Self::Unstake { amount } => unstake(context, amount).await,
            Self::Withdraw => withdraw(context).await,
        }
    }
}

/// What came of a change of stake.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    account: AccountId,
    block: Hash,
    /// Base units.
    #[serde(serialize_with = "crate::client::decimal")]
    amount: Balance,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", untagged)]
enum Outcome {
    #[serde(rename_all = "camelCase")]
    Staked {
        #[serde(serialize_with = "crate::client::decimal")]
        stake: Balance,
    },
    #[serde(rename_all = "camelCase")]
    Unstaked {
        release_at: Height,
    },
    Withdrawn {},
}

async fn stake(context: &Context, amount: Balance) -> Result<(), Failure> {
    let key = context.key()?;
    let client = context.client().await?;
    context.confirm(&format!("{} are staked", tokens(amount)))?;
    let (work_key, encryption_key) = public_keys(&key);
    let call = Call::<Runtime>::stake { amount, work_key: *work_key.as_bytes(), encryption_key };
    let included = client.submit(&key, "staking", call.into()).await?;
    let outcome = find(&included, |event| match event {
        Event::Staked { total, .. } => Some(Outcome::Staked { stake: *total }),
        _ => None,
    })?;
    changed(context, &key, (included.block, amount, outcome))
}

async fn unstake(context: &Context, amount: Balance) -> Result<(), Failure> {
    let key = context.key()?;
    let client = context.client().await?;
    let included = client.submit(&key, "unstaking", Call::<Runtime>::unstake { amount }.into()).await?;
    let outcome = find(&included, |event| match event {
        Event::Unstaked { release_at, .. } => {
            Some(Outcome::Unstaked { release_at: Height::new(*release_at) })
        }
        _ => None,
    })?;
    changed(context, &key, (included.block, amount, outcome))
}

async fn withdraw(context: &Context) -> Result<(), Failure> {
    let key = context.key()?;
    let client = context.client().await?;
    let included = client.submit(&key, "withdrawing stake", Call::<Runtime>::withdraw {}.into()).await?;
    let amount = find(&included, |event| match event {
        Event::Withdrawn { amount, .. } => Some(*amount),
        _ => None,
    })?;
    changed(context, &key, (included.block, amount, Outcome::Withdrawn {}))
}

fn changed(context: &Context, key: &Key, what: (Hash, Balance, Outcome)) -> Result<(), Failure> {
    let (block, amount, outcome) = what;
    let changed = Changed { account: key.account(), block, amount, outcome };
    context.output().result(&changed, |Changed { account, block, amount, outcome }| {
        let amount = tokens(*amount);
        let said = match outcome {
            Outcome::Staked { stake } => format!("{amount} staked, {} in all", tokens(*stake)),
            Outcome::Unstaked { release_at } => {
                format!(
                    "{amount} unbonding; take it with `assay provider withdraw` from height {release_at} on"
                )
            }
            Outcome::Withdrawn {} => format!("{amount} returned"),
        };
        table::fields(&[("account", account.to_string()), ("stake", said), ("block", format!("{block:?}"))])
    })?;
    Ok(())
}

/// What the ledger's event says, which must be there when a call of ours has succeeded.
fn find<T>(included: &Included, pick: impl Fn(&Event<Runtime>) -> Option<T>) -> Result<T, Failure> {
    let ours = included.events.iter().filter_map(|event| match event {
        RuntimeEvent::Providers(event) => Some(event),
        _ => None,
    });
    let found = ours.into_iter().find_map(pick);
    found.ok_or_else(|| {
        Failure::new(
            Exit::Internal,
            format!("reading block {:?}: the call's event is missing", included.block),
        )
    })
}

/// Arguments of `assay provider offer`; prices are in ASY per million tokens.
#[derive(Debug, Args)]
pub struct OfferArgs {
    /// The model: an id, ACCOUNT/NAME or NAME.
    #[arg(long)]
    model: String,
    /// For prompt tokens, in ASY per million.
    #[arg(long, value_name = "ASY", value_parser = parse_price)]
    input_price: Price,
    /// For generated tokens, in ASY per million.
    #[arg(long, value_name = "ASY", value_parser = parse_price)]
    output_price: Price,
    /// For verified tokens, in ASY per million.
    #[arg(long, value_name = "ASY", value_parser = parse_price)]
    verify_price: Price,
    /// Executions at the same time; unchanged, or 1, if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    capacity: Option<u32>,
    /// What the models run on; unchanged, or cpu-small, if absent.
    #[arg(long)]
    hardware: Option<Hardware>,
    /// Serve this model only: take every other one out of the offer.
    #[arg(long)]
    only: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Announced {
    account: AccountId,
    offer: Offer,
    effective_at: Height,
    /// How long that takes at the chain's pace.
    effective_in_ms: u64,
    keys_changed: bool,
    block: Hash,
}

impl OfferArgs {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let key = context.key()?;
        let client = context.client().await?;
        let model_id = model_of(context, &client, &self.model).await?;
        let provider = client.provider(&key.account()).await?.ok_or_else(|| unstaked(&key.account()))?;
        let offer = self.merged(model_id, provider.latest_offer());
        let keys = changed_keys(&provider, &key);
        let keys_changed = keys.is_some();
        let calls = keys.into_iter().chain([announce(&offer)?]).collect();
        let included = client.submit_all(&key, "announcing an offer", calls).await?;
        let effective_at = find(&included, |event| match event {
            Event::OfferAnnounced { effective_at, .. } => Some(Height::new(*effective_at)),
            _ => None,
        })?;
        let effective_in_ms = wait_ms(&client, effective_at).await?;
        let (account, block) = (key.account(), included.block);
        let announced = Announced { account, offer, effective_at, effective_in_ms, keys_changed, block };
        context.output().result(&announced, announced_text)?;
        Ok(())
    }

    /// The present offer with these terms in it.
    fn merged(&self, model_id: ModelId, present: Option<&Offer>) -> Offer {
        let (input, output, verify) = (self.input_price, self.output_price, self.verify_price);
        let kept = present.filter(|_| !self.only).map(|offer| offer.models.clone()).unwrap_or_default();
        let others = kept.into_iter().filter(|terms| terms.model_id != model_id);
        Offer {
            models: others.chain([Terms { model_id, input, output, verify }]).collect(),
            hardware: self.hardware.or(present.map(|offer| offer.hardware)).unwrap_or(Hardware::CpuSmall),
            capacity: self.capacity.or(present.map(|offer| offer.capacity)).unwrap_or(1),
        }
    }
}

/// The call that publishes the key's work and encryption keys, if others are on the ledger.
fn changed_keys(provider: &Provider, key: &Key) -> Option<RuntimeCall> {
    let (work_key, encryption_key) = public_keys(key);
    let differ = (provider.work_key, provider.encryption_key) != (work_key, encryption_key);
    let call = || Call::<Runtime>::set_keys { work_key: *work_key.as_bytes(), encryption_key };
    differ.then(|| call().into())
}

fn announce(offer: &Offer) -> Result<RuntimeCall, Failure> {
    let terms = |Terms { model_id, input, output, verify }: &Terms| ModelOffer {
        model_id: *model_id,
        input: *input,
        output: *output,
        verify: *verify,
    };
    let models: Vec<ModelOffer> = offer.models.iter().map(terms).collect();
    let count = models.len();
    let models = models.try_into().map_err(|_| {
        Failure::usage(format!("announcing an offer: {count} models are more than one offer may have"))
            .hint("serve this model only, with --only")
    })?;
    let (hardware, capacity) = (offer.hardware.into(), offer.capacity);
    let offer = pallet_assay_providers::Offer { models, hardware, capacity };
    Ok(Call::<Runtime>::set_offer { offer }.into())
}

/// Time until the chain is at `height`, at its usual pace.
async fn wait_ms(client: &Client, height: Height) -> Result<u64, Failure> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Pace {
        best_height: u32,
        block_time_ms: u64,
    }
    let pace: Pace = client.request("node_v1_info", rpc_params![]).await?;
    Ok(u64::from(height.get().saturating_sub(pace.best_height)).saturating_mul(pace.block_time_ms))
}

fn announced_text(announced: &Announced) -> String {
    let Announced { account, offer, effective_at, effective_in_ms, keys_changed, block } = announced;
    let seconds = effective_in_ms.div_ceil(1000);
    let mut rows = vec![
        ("account", account.to_string()),
        ("in force", format!("from height {effective_at} on, in about {seconds} s")),
    ];
    rows.extend(offer_rows("offer", offer));
    if *keys_changed {
        rows.push(("keys", "work and encryption key were replaced by those of this key".into()));
    }
    rows.push(("block", format!("{block:?}")));
    table::fields(&rows)
}

fn offer_rows(title: &'static str, offer: &Offer) -> Vec<(&'static str, String)> {
    let Offer { models, hardware, capacity } = offer;
    let mut rows =
        vec![(title, format!("{}, {}", hardware.name(), table::count(*capacity as usize, "execution")))];
    for Terms { model_id, input, output, verify } in models {
        let [input, output, verify] = [input, output, verify].map(|price| tokens(price.get()));
        rows.push(("", model_id.to_string()));
        rows.push(("", format!("per million tokens: input {input}, output {output}, verify {verify}")));
    }
    rows
}

fn unstaked(account: &AccountId) -> Failure {
    Failure::usage(format!("looking up the provider {account}: it has never staked"))
        .hint("stake first, with `assay provider stake AMOUNT`")
}

async fn show(context: &Context, account: Option<&str>) -> Result<(), Failure> {
    let account = match account {
        Some(text) => account_of(context, text)?,
        None => context.key()?.account(),
    };
    let client = context.client().await?;
    let provider = client.provider(&account).await?.ok_or_else(|| unstaked(&account))?;
    context.output().result(&provider, provider_text)?;
    Ok(())
}

fn provider_text(provider: &Provider) -> String {
    let [stake, locked, free, score] =
        [provider.stake, provider.locked, provider.free_stake(), provider.score]
            .map(|amount| tokens(amount.get()));
    let mut rows = vec![
        ("account", provider.account.to_string()),
        ("stake", format!("{stake}: {locked} locked, {free} free")),
        ("score", score),
        ("work key", provider.work_key.to_string()),
        ("encryption key", provider.encryption_key.to_string()),
    ];
    if provider.barred_until > Height::ZERO {
        rows.push(("barred", format!("not drawn before height {}", provider.barred_until)));
    }
    for portion in &provider.unbonding {
        let amount = tokens(portion.amount.get());
        rows.push(("unbonding", format!("{amount}, released at height {}", portion.release_at)));
    }
    rows.extend(provider.offer.iter().flat_map(|offer| offer_rows("offer", offer)));
    if let Some(pending) = &provider.pending_offer {
        rows.push(("announced", format!("in force from height {} on", pending.effective_at)));
        rows.extend(offer_rows("", &pending.offer));
    }
    table::fields(&rows)
}

async fn list(context: &Context, model: Option<&str>) -> Result<(), Failure> {
    let client = context.client().await?;
    let model = match model {
        Some(reference) => Some(model_of(context, &client, reference).await?),
        None => None,
    };
    let providers = client.providers(model.as_ref()).await?;
    context.output().result(&providers, |providers| providers_text(providers, model.as_ref()))?;
    Ok(())
}

fn providers_text(providers: &[Provider], model: Option<&ModelId>) -> String {
    let account = |provider: &Provider| provider.account.to_string();
    match model {
        _ if providers.is_empty() => "no providers".into(),
        None => {
            let row = |provider: &Provider| {
                let models = provider.offer.as_ref().map_or(0, |offer| offer.models.len());
                let [stake, free] =
                    [provider.stake, provider.free_stake()].map(|amount| tokens(amount.get()));
                [account(provider), stake, free, models.to_string()]
            };
            table::table(
                ["ACCOUNT", "STAKE", "FREE", "MODELS"],
                &providers.iter().map(row).collect::<Vec<_>>(),
            )
        }
        Some(model) => {
            let row = |provider: &Provider| {
                let terms = provider.offer.as_ref().and_then(|offer| offer.terms(model));
                let price =
                    |pick: fn(&Terms) -> Price| terms.map_or("-".into(), |terms| tokens(pick(terms).get()));
                [account(provider), price(|t| t.input), price(|t| t.output), price(|t| t.verify)]
            };
            let head = ["ACCOUNT", "INPUT/M", "OUTPUT/M", "VERIFY/M"];
            table::table(head, &providers.iter().map(row).collect::<Vec<_>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(price: u128, only: bool) -> OfferArgs {
        let price = Price::new(price);
        OfferArgs {
            model: String::new(),
            input_price: price,
            output_price: price,
            verify_price: price,
            capacity: None,
            hardware: None,
            only,
        }
    }

    #[test]
    fn new_terms_replace_those_of_the_same_model_and_leave_others() {
        let (a, b) = (ModelId::from_bytes([1; 32]), ModelId::from_bytes([2; 32]));
        let first = args(1, false).merged(a, None);
        assert_eq!((first.hardware, first.capacity), (Hardware::CpuSmall, 1));
        let with_capacity = OfferArgs { capacity: Some(3), hardware: Some(Hardware::Gpu), ..args(2, false) };
        let second = with_capacity.merged(b, Some(&first));
        let third = args(9, false).merged(a, Some(&second));
        assert_eq!((third.hardware, third.capacity, third.models.len()), (Hardware::Gpu, 3, 2));
        assert_eq!(third.terms(&a).unwrap().output, Price::new(9));
        assert_eq!(third.terms(&b).unwrap().output, Price::new(2));
        assert_eq!(args(4, true).merged(a, Some(&third)).models.len(), 1);
    }
}
