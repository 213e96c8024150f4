//! `assay job submit`: asking a model.

use std::time::{SystemTime, UNIX_EPOCH};

use assay_manifest::{JobId, Manifest, ModelId};
use assay_protocol::params::AT_LARGE_BYTES_MAX;
use assay_protocol::record::{Policy, Prices};
use assay_protocol::units::Price;
use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use super::bought::{Bought, finish};
use super::own::{Own, executed_here};
use crate::cli::artifact::{model_of, resolve};
use crate::cli::asking::{Asking, Question};
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{parse_price, tokens};
use crate::cli::progress;
use crate::client::{Client, ClientError, Provider, SubmitError, Terms, Wish};
use crate::data_dir::write_json;
use crate::rpc::{Ask, Code};

/// Ask a model.
#[derive(Debug, Args)]
pub struct Submit {
    /// Model: an id, ACCOUNT/NAME, or NAME.
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// What to ask.
    #[command(flatten)]
    question: Question,
    /// How to sample, and when to stop.
    #[command(flatten)]
    asking: Asking,
    /// Drawn verifiers that re-execute the answer.
    #[arg(long, value_name = "2|4", default_value_t = 2)]
    verifiers: u8,
    /// Executions in all, instead of one with drawn verifiers.
    #[arg(long, value_name = "N", conflicts_with = "verifiers")]
    replicated: Option<u8>,
    /// Draw one of the verifiers from those who do not serve the model: it takes as long as they need to fetch it.
    #[arg(long, conflicts_with = "replicated")]
    at_large: bool,
    /// Most to pay for a million prompt tokens, in ASY; by default what enough offers ask.
    #[arg(long, value_name = "ASY", value_parser = parse_price)]
    max_input_price: Option<Price>,
    /// Most to pay for a million generated tokens.
    #[arg(long, value_name = "ASY", value_parser = parse_price)]
    max_output_price: Option<Price>,
    /// Most to pay for a million verified tokens.
    #[arg(long, value_name = "ASY", value_parser = parse_price)]
    max_verify_price: Option<Price>,
    /// The executor, instead of a drawn one; such jobs earn it no score.
    #[arg(long, value_name = "ACCOUNT")]
    executor: Option<String>,
    /// Wait for the end, print the answer and keep the receipt; without it, only until an executor has the input.
    #[arg(long)]
    wait: bool,
    /// Have the node that is asked run it itself, for nothing, if it is yours, has the model loaded and has time; buy it
    /// otherwise. Nobody verifies what your own node answers.
    #[arg(long, conflicts_with_all = ["executor", "replicated"])]
    local_first: bool,
}

impl Submit {
    /// Asks.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be paid or nobody serves it; or, if it was waited for, when it ended without
    /// a right answer.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let key = context.key()?;
        let client = context.client().await?;
        let model_id = model_of(context, &client, &self.model).await?;
        if self.local_first {
            let own =
                executed_here(context, &client, (self.ask(model_id)?, self.asking.seed()), &key).await?;
            if let Some(own) = own {
                return Ok(context.output().result(&own, Own::text)?);
            }
        }
        let wait = self.wait;
        let wish = self.wish(context, &client, model_id).await?;
        let order = client.draft(key.account(), wish).await.map_err(refused_request)?;
        let quote = client.quote(&order).await?;
        context.confirm(&format!("{} are held until the job has ended", tokens(quote.escrow.get())))?;
        // The salt must be on disk before anything depends on it.
        write_json(&context.order_file(&order.job)?, &order)?;
        let spinner = progress::spinner(context.output(), "waiting for an executor");
        let placed = client.place(&key, &order).await;
        spinner.finish_and_clear();
        match placed {
            // What it cost to find nobody is told with everything else.
            Err(SubmitError::NobodyAccepted(_)) if wait => {}
            // The request may be on the ledger all the same: asked again, it would be paid twice.
            Err(
                error @ SubmitError::Client(
                    ClientError::Transport { .. }
                    | ClientError::Standstill { .. }
                    | ClientError::Foreign { .. },
                ),
            ) => {
                let job = order.job;
                let hint = format!(
                    "when a node answers and blocks come, see what became of it: assay job watch {job} --key KEY"
                );
                return Err(Failure::from(error).hint(hint));
            }
            placed => drop(placed?),
        }
        if !wait {
            let placed = Placed { id: order.job, state: "accepted", escrow: quote.escrow.get().to_string() };
            context.output().result(&placed, |placed| {
                format!(
                    "job {}\nescrow {}\nfollow it with `assay job watch {0}`",
                    placed.id,
                    tokens(quote.escrow.get())
                )
            })?;
            return Ok(());
        }
        let bought = finish(context, &client, (&key, &order), |_| {}).await?;
        context.output().result(&bought, Bought::text)?;
        bought.check()
    }

    async fn wish(self, context: &Context, client: &Client, model_id: ModelId) -> Result<Wish, Failure> {
        let policy = self.policy(context, client).await?;
        let providers = serving(client, &self.model, &model_id).await?;
        let offered = enough(&providers, &model_id, policy);
        let price = |named: Option<Price>, offered: Price| named.unwrap_or(offered);
        let input = price(self.max_input_price, offered.input);
        let prices = Prices {
            input,
            output: price(self.max_output_price, offered.output),
            verify_max: price(self.max_verify_price, offered.verify_max.max(input)),
        };
        check_offers(&self.model, &providers, &model_id, policy, &prices)?;
        if prices.verify_max < prices.input {
            return Err(Failure::usage(
                "asking: the cap for a verified token is under the price of a prompt token",
            )
            .hint("raise --max-verify-price, or lower --max-input-price"));
        }
        let direct_executor = match &self.executor {
            Some(text) => Some(context.account_of(text)?),
            None => None,
        };
        Ok(Wish { ask: self.ask(model_id)?, seed: self.asking.seed(), policy, prices, direct_executor })
    }

    async fn policy(&self, context: &Context, client: &Client) -> Result<Policy, Failure> {
        let verifiers = self.verifiers;
        let policy = match self.replicated {
            Some(executions) => Policy::Replicated { executions },
            None => Policy::Verified { verifiers },
        };
        if !policy.is_allowed() {
            return Err(Failure::usage("asking: two or four verifiers, or one to five executions in all"));
        }
        if !self.at_large {
            return Ok(policy);
        }
        let weights_bytes = size_of(context, client, &self.model).await?;
        let at_large = Policy::VerifiedAtLarge { verifiers, weights_bytes };
        if at_large.is_allowed() {
            return Ok(at_large);
        }
        let (size, largest) = (HumanBytes(weights_bytes), HumanBytes(AT_LARGE_BYTES_MAX));
        Err(Failure::usage(format!(
            "asking {}: it has {size}, and nobody fetches more than {largest}",
            self.model
        ))
        .hint("leave out --at-large"))
    }

    fn ask(&self, model: ModelId) -> Result<Ask, Failure> {
        Ok(Ask {
            model,
            prompt: self.asking.prompt(self.question.text()?),
            now_s: now_s(),
            sampler: self.asking.sampler(),
            stop: self.asking.stop.clone(),
            max_tokens: self.asking.max_tokens,
        })
    }
}

/// What the model's files take: as the node's store has them, or as the ledger has it from whoever registered them.
async fn size_of(context: &Context, client: &Client, model: &str) -> Result<u64, Failure> {
    let artifact = resolve(context, client, model).await?;
    let stored = artifact.manifest.as_ref().map(Manifest::size_bytes);
    let stated = artifact.registrations.iter().map(|registration| registration.size_bytes).max();
    stored.or(stated).ok_or_else(|| {
        Failure::usage(format!("asking {model}: it is not registered, so nobody at large could fetch it"))
            .hint("register it with `assay model register`, or leave out --at-large")
    })
}

/// Who serves the model by the spec by which the node prepares requests: nobody else may be drawn.
async fn serving(client: &Client, name: &str, model: &ModelId) -> Result<Vec<Provider>, Failure> {
    if client.serving(model, None).await?.is_empty() {
        let cause = format!("asking {name}: no provider's offer of it is in force");
        return Err(Failure::new(Exit::NoProvider, cause)
            .hint("an offer takes effect some blocks after it was made; see `assay provider list`"));
    }
    let spec = client.spec(model).await?;
    let providers = client.serving(model, Some(&spec)).await?;
    if providers.is_empty() {
        let cause =
            format!("asking {name}: no offer in force names the spec {spec}, by which this node asks");
        return Err(Failure::new(Exit::NoProvider, cause).hint(
            "ask through a node that executes it as the providers do; see `assay provider list --model`",
        ));
    }
    Ok(providers)
}

/// What to do when the node's model does not take a request.
pub fn refused_request(error: ClientError) -> Failure {
    let refused = matches!(&error, ClientError::Refused { code, .. } if *code == Code::JobRefused.number());
    let failure = Failure::from(error);
    if refused {
        failure.hint("shorten the prompt, lower --max-tokens, or ask another model")
    } else {
        failure
    }
}

/// Refuses limits within which the offers do not fill every seat, before a fee is paid for a request that the
/// ledger would refuse.
fn check_offers(
    name: &str,
    providers: &[Provider],
    model: &ModelId,
    policy: Policy,
    limits: &Prices,
) -> Result<(), Failure> {
    let is_within = |terms: &&Terms| {
        terms.input <= limits.input && terms.output <= limits.output && terms.verify <= limits.verify_max
    };
    let offers = terms(providers, model);
    let within = offers.iter().filter(is_within).count();
    let seats = usize::from(policy.serving_verifiers()).saturating_add(1);
    if within >= seats {
        return Ok(());
    }
    let count = offers.len();
    let cause =
        format!("asking {name}: of {count} offers {within} are within your prices, and {seats} are needed");
    let failure = Failure::new(Exit::NoProvider, cause);
    if count < seats {
        return Err(failure.hint("ask for fewer executions with --replicated, or wait for more providers"));
    }
    let Prices { input, output, verify_max } = enough(providers, model, policy);
    let [input, output, verify] = [input, output, verify_max].map(|price| tokens(price.get()));
    Err(failure.hint(format!(
        "enough offers ask at most {input} for a million prompt tokens, {output} for generated and {verify} for \
         verified ones; without price limits that is what you pay"
    )))
}

/// The terms of every offer of a model.
fn terms(providers: &[Provider], model: &ModelId) -> Vec<Terms> {
    let offers = providers.iter().filter_map(|provider| provider.offer.as_ref());
    offers.filter_map(|offer| offer.terms(model).cloned()).collect()
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The lowest caps within which the cheapest offers fill every seat, with one to spare.
pub fn enough(providers: &[Provider], model: &ModelId, policy: Policy) -> Prices {
    let mut offers = terms(providers, model);
    offers.sort_by_key(|terms| (terms.output, terms.input, terms.verify));
    let seats = usize::from(policy.serving_verifiers()).saturating_add(2);
    let fold = |caps: Prices, terms: &Terms| Prices {
        input: caps.input.max(terms.input),
        output: caps.output.max(terms.output),
        verify_max: caps.verify_max.max(terms.verify).max(terms.input),
    };
    let nothing = Prices { input: Price::ZERO, output: Price::ZERO, verify_max: Price::ZERO };
    offers.iter().take(seats).fold(nothing, fold)
}

#[derive(Serialize)]
struct Placed {
    id: JobId,
    state: &'static str,
    escrow: String,
}
