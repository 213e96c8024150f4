//! `assay provider offer`: terms for a model.

use assay_manifest::{ModelId, SpecId};
use assay_protocol::units::{Height, Price};
use assay_runtime::{AccountId, Hash, Runtime, RuntimeCall, RuntimeEvent};
use clap::Args;
use jsonrpsee::rpc_params;
use pallet_assay_providers::{Call, Event, ModelOffer};
use serde::Serialize;

use super::{offer_rows, unstaked};
use crate::cli::artifact::model_of;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output::parse_price;
use crate::cli::staking::find;
use crate::cli::table;
use crate::client::{AtLarge, Client, Hardware, Offer, Terms};
use crate::keys::Key;

/// Arguments of `assay provider offer`; prices are in ASY per million tokens. The offer names the spec by which the
/// node that is asked executes the model, so ask the one that will serve it.
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
    block: Hash,
}

impl OfferArgs {
    /// Announces it.
    ///
    /// # Errors
    /// [`Failure`] when the account has not staked, the node does not have the model, or the ledger refuses.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let key = context.key()?;
        let client = context.client().await?;
        let model_id = model_of(context, &client, &self.model).await?;
        let provider = client.provider(&key.account()).await?.ok_or_else(|| unstaked(&key.account()))?;
        let spec_id = client.spec(&model_id).await?;
        let offer = self.merged((model_id, spec_id), provider.latest_offer());
        announce(context, &client, &key, offer).await
    }

    /// The present offer with these terms in it.
    fn merged(&self, (model_id, spec_id): (ModelId, SpecId), present: Option<&Offer>) -> Offer {
        let (input, output, verify) = (self.input_price, self.output_price, self.verify_price);
        let kept = present.filter(|_| !self.only).map(|offer| offer.models.clone()).unwrap_or_default();
        let others = kept.into_iter().filter(|terms| terms.model_id != model_id);
        Offer {
            models: others.chain([Terms { model_id, spec_id, input, output, verify }]).collect(),
            hardware: self.hardware.or(present.map(|offer| offer.hardware)).unwrap_or(Hardware::CpuSmall),
            capacity: self.capacity.or(present.map(|offer| offer.capacity)).unwrap_or(1),
            at_large: present.and_then(|offer| offer.at_large),
        }
    }
}

/// Announces an offer, and says when it is in force.
///
/// # Errors
/// [`Failure`] when the ledger refuses.
pub async fn announce(context: &Context, client: &Client, key: &Key, offer: Offer) -> Result<(), Failure> {
    let included = client.submit(key, "announcing an offer", call(&offer)?).await?;
    let effective_at = find(&included, |event| match event {
        RuntimeEvent::Providers(Event::OfferAnnounced { effective_at, .. }) => {
            Some(Height::new(*effective_at))
        }
        _ => None,
    })?;
    let effective_in_ms = wait_ms(client, effective_at).await?;
    let (account, block) = (key.account(), included.block);
    let announced = Announced { account, offer, effective_at, effective_in_ms, block };
    Ok(context.output().result(&announced, announced_text)?)
}

fn call(offer: &Offer) -> Result<RuntimeCall, Failure> {
    let terms = |Terms { model_id, spec_id, input, output, verify }: &Terms| ModelOffer {
        model_id: *model_id,
        spec_id: *spec_id,
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
    let at_large = offer.at_large.map(|AtLarge { verify, weights_max_bytes }| {
        pallet_assay_providers::AtLarge { verify, weights_max_bytes }
    });
    let offer = pallet_assay_providers::Offer { models, hardware, capacity, at_large };
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
    let Announced { account, offer, effective_at, effective_in_ms, block } = announced;
    let seconds = effective_in_ms.div_ceil(1000);
    let mut rows = vec![
        ("account", account.to_string()),
        ("in force", format!("from height {effective_at} on, in about {seconds} s")),
    ];
    rows.extend(offer_rows("offer", offer));
    rows.push(("block", format!("{block:?}")));
    table::fields(&rows)
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
        let [old, new] = [3, 4].map(|n| SpecId::from_bytes([n; 32]));
        let first = args(1, false).merged((a, old), None);
        assert_eq!((first.hardware, first.capacity), (Hardware::CpuSmall, 1));
        let with_capacity = OfferArgs { capacity: Some(3), hardware: Some(Hardware::Gpu), ..args(2, false) };
        let second = with_capacity.merged((b, old), Some(&first));
        let third = args(9, false).merged((a, new), Some(&second));
        assert_eq!((third.hardware, third.capacity, third.models.len()), (Hardware::Gpu, 3, 2));
        assert_eq!(third.terms(&a).unwrap().output, Price::new(9));
        assert_eq!(third.terms(&b).unwrap().output, Price::new(2));
        assert_eq!((third.terms(&a).unwrap().spec_id, third.terms(&b).unwrap().spec_id), (new, old));
        let at_large = Some(AtLarge { verify: Price::new(7), weights_max_bytes: 1 });
        let alone = args(4, true).merged((a, new), Some(&Offer { at_large, ..third }));
        assert_eq!((alone.models.len(), alone.at_large), (1, at_large));
    }
}
