//! `assay provider at-large`: verifying models that others serve (clause J16).

use assay_protocol::params::AT_LARGE_BYTES_MAX;
use assay_protocol::units::Price;
use clap::Args;
use indicatif::HumanBytes;

use super::offer::announce;
use super::unstaked;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output::{parse_bytes, parse_price};
use crate::client::{AtLarge, Hardware, Offer};

/// Arguments of `assay provider at-large`. What the offer says of models stays as it is.
#[derive(Debug, Args)]
pub struct AtLargeArgs {
    /// For verified tokens, in ASY per million.
    #[arg(long, value_name = "ASY", value_parser = parse_price, required_unless_present = "stop")]
    verify_price: Option<Price>,
    /// The largest model that this node would fetch, such as 500M or 20G.
    #[arg(long, value_name = "BYTES", value_parser = parse_weights_max, default_value = "4G")]
    weights_max: u64,
    /// Verify no models any more but those that the offer names.
    #[arg(long, conflicts_with = "verify_price")]
    stop: bool,
}

impl AtLargeArgs {
    /// Announces it.
    ///
    /// # Errors
    /// [`Failure`] when the account has not staked, or the ledger refuses.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let key = context.key()?;
        let client = context.client().await?;
        let provider = client.provider(&key.account()).await?.ok_or_else(|| unstaked(&key.account()))?;
        let offer = self.merged(provider.latest_offer());
        announce(context, &client, &key, offer).await
    }

    /// The present offer with these terms in it.
    fn merged(&self, present: Option<&Offer>) -> Offer {
        let at_large =
            self.verify_price.map(|verify| AtLarge { verify, weights_max_bytes: self.weights_max });
        let nothing =
            || Offer { models: Vec::new(), hardware: Hardware::CpuSmall, capacity: 1, at_large: None };
        Offer { at_large, ..present.cloned().unwrap_or_else(nothing) }
    }
}

/// Bytes of a model, of which no job asks for more than the ledger allows.
fn parse_weights_max(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        bytes @ ..=AT_LARGE_BYTES_MAX => Ok(bytes),
        _ => Err(format!("no job asks for a model of more than {}", HumanBytes(AT_LARGE_BYTES_MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_at_large_come_and_go_and_leave_the_models() {
        let args = |price: Option<u128>| AtLargeArgs {
            verify_price: price.map(Price::new),
            weights_max: 5,
            stop: price.is_none(),
        };
        let first = args(Some(3)).merged(None);
        assert_eq!(first.at_large, Some(AtLarge { verify: Price::new(3), weights_max_bytes: 5 }));
        let busy = Offer { capacity: 7, ..first };
        let stopped = args(None).merged(Some(&busy));
        assert_eq!((stopped.at_large, stopped.capacity), (None, 7));
    }

    #[test]
    fn what_no_job_asks_for_is_refused() {
        assert_eq!(parse_weights_max("20G"), Ok(20_000_000_000));
        assert_eq!(parse_weights_max(&AT_LARGE_BYTES_MAX.to_string()), Ok(AT_LARGE_BYTES_MAX));
        assert_eq!(parse_weights_max("69G").unwrap_err(), "no job asks for a model of more than 64.00 GiB");
        assert!(parse_weights_max("much").is_err());
    }
}
