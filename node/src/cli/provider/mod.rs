//! `assay provider`: sell compute.

mod at_large;
mod keys;
mod offer;

use assay_manifest::ModelId;
use assay_protocol::units::{Amount, Height, Price};
use assay_runtime::{AccountId, Balance, Runtime, RuntimeEvent};
use clap::Subcommand;
use indicatif::HumanBytes;
use pallet_assay_providers::{Call, Event};

use self::at_large::AtLargeArgs;
use self::keys::{KeysArgs, keys, local_keys, set_keys};
use self::offer::OfferArgs;
use super::artifact::model_of;
use super::context::Context;
use super::failure::Failure;
use super::output::{parse_tokens, tokens};
use super::staking::{Outcome, changed, find};
use super::table;
use crate::client::{AtLarge, Offer, Provider, Terms};
use crate::keys::PublishedKeys;

/// What is to be done as a provider, or seen of providers.
#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// Make the keys with which this machine works for an account, and print what the account has to publish.
    /// The account's own key is not needed, and need never be on this machine.
    Keys {
        /// Address, name of a key, or development URI; the key to sign with if absent.
        account: Option<String>,
    },
    /// Stake tokens that stand for your answers, and publish the keys of the machine that gives them.
    Stake {
        /// Tokens, such as 1000 or 0.5.
        #[arg(value_parser = parse_tokens)]
        amount: Balance,
        #[command(flatten)]
        keys: KeysArgs,
    },
    /// Publish the keys of another machine; seats that were drawn before keep the old ones.
    SetKeys(KeysArgs),
    /// Announce terms for a model; terms for other models stay as they are.
    Offer(OfferArgs),
    /// Announce that you verify models that you do not serve, which your node fetches when it is drawn for one.
    AtLarge(AtLargeArgs),
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
            Self::Keys { account } => keys(context, account.as_deref()),
            Self::Stake { amount, keys } => stake(context, amount, &keys).await,
            Self::SetKeys(keys) => set_keys(context, &keys).await,
            Self::Offer(offer) => offer.run(context).await,
            Self::AtLarge(at_large) => at_large.run(context).await,
            Self::Show { account } => show(context, account.as_deref()).await,
            Self::List { model } => list(context, model.as_deref()).await,
            Self::Unstake { amount } => unstake(context, amount).await,
            Self::Withdraw => withdraw(context).await,
        }
    }
}

async fn stake(context: &Context, amount: Balance, keys: &KeysArgs) -> Result<(), Failure> {
    let key = context.key()?;
    let client = context.client().await?;
    let PublishedKeys { work_key, encryption_key } = match keys.named() {
        Some(named) => named,
        // More stake leaves the keys as they are.
        None => match client.provider(&key.account()).await? {
            Some(Provider { work_key, encryption_key, .. }) => PublishedKeys { work_key, encryption_key },
            None => local_keys(context, &key)?,
        },
    };
    context.confirm(&format!("{} are staked", tokens(amount)))?;
    let call = Call::<Runtime>::stake { amount, work_key: *work_key.as_bytes(), encryption_key };
    let included = client.submit(&key, "staking", call.into()).await?;
    let outcome = find(&included, |event| match event {
        RuntimeEvent::Providers(Event::Staked { total, .. }) => {
            Some(Outcome::Staked { stake: Amount::new(*total), eligible_from: None })
        }
        _ => None,
    })?;
    changed(context, "provider", key.account(), (included.block, amount, outcome))
}

async fn unstake(context: &Context, amount: Balance) -> Result<(), Failure> {
    let key = context.key()?;
    let client = context.client().await?;
    let included = client.submit(&key, "unstaking", Call::<Runtime>::unstake { amount }.into()).await?;
    let outcome = find(&included, |event| match event {
        RuntimeEvent::Providers(Event::Unstaked { release_at, .. }) => {
            Some(Outcome::Unstaked { release_at: Height::new(*release_at) })
        }
        _ => None,
    })?;
    changed(context, "provider", key.account(), (included.block, amount, outcome))
}

async fn withdraw(context: &Context) -> Result<(), Failure> {
    let key = context.key()?;
    let client = context.client().await?;
    let included = client.submit(&key, "withdrawing stake", Call::<Runtime>::withdraw {}.into()).await?;
    let amount = find(&included, |event| match event {
        RuntimeEvent::Providers(Event::Withdrawn { amount, .. }) => Some(*amount),
        _ => None,
    })?;
    changed(context, "provider", key.account(), (included.block, amount, Outcome::Withdrawn {}))
}

fn offer_rows(title: &'static str, offer: &Offer) -> Vec<(&'static str, String)> {
    let Offer { models, hardware, capacity, at_large } = offer;
    let mut rows =
        vec![(title, format!("{}, {}", hardware.name(), table::count(*capacity as usize, "execution")))];
    for Terms { model_id, spec_id, input, output, verify } in models {
        let [input, output, verify] = [input, output, verify].map(|price| tokens(price.get()));
        rows.push(("", model_id.to_string()));
        rows.push(("", format!("by the spec {spec_id}")));
        rows.push(("", format!("per million tokens: input {input}, output {output}, verify {verify}")));
    }
    rows.extend(at_large.map(|AtLarge { verify, weights_max_bytes }| {
        let (verify, largest) = (tokens(verify.get()), HumanBytes(weights_max_bytes));
        ("", format!("at large, models up to {largest}: verify {verify} per million tokens"))
    }));
    rows
}

fn unstaked(account: &AccountId) -> Failure {
    Failure::usage(format!("looking up the provider {account}: it has never staked"))
        .hint("stake first, with `assay provider stake AMOUNT`")
}

async fn show(context: &Context, account: Option<&str>) -> Result<(), Failure> {
    let account = match account {
        Some(text) => context.account_of(text)?,
        None => context.account()?,
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
    let providers = match &model {
        Some(model) => client.serving(model, None).await?,
        None => client.providers().await?,
    };
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
                let at_large = provider.offer.as_ref().and_then(|offer| offer.at_large);
                let largest =
                    at_large.map_or("-".into(), |terms| HumanBytes(terms.weights_max_bytes).to_string());
                [account(provider), stake, free, models.to_string(), largest]
            };
            table::table(
                ["ACCOUNT", "STAKE", "FREE", "MODELS", "AT LARGE UP TO"],
                &providers.iter().map(row).collect::<Vec<_>>(),
            )
        }
        Some(model) => {
            let row = |provider: &Provider| {
                let terms = provider.offer.as_ref().and_then(|offer| offer.terms(model));
                let price =
                    |pick: fn(&Terms) -> Price| terms.map_or("-".into(), |terms| tokens(pick(terms).get()));
                let spec = terms.map_or("-".into(), |terms| table::short(terms.spec_id));
                [account(provider), spec, price(|t| t.input), price(|t| t.output), price(|t| t.verify)]
            };
            let head = ["ACCOUNT", "SPEC", "INPUT/M", "OUTPUT/M", "VERIFY/M"];
            table::table(head, &providers.iter().map(row).collect::<Vec<_>>())
        }
    }
}
