//! `assay chain rule`: say, as a validator, whether a definition is right under which verdicts are paused.

use std::fmt::{self, Display};

use assay_manifest::SpecId;
use assay_runtime::Hash;
use clap::{Args, ValueEnum};
use pallet_assay_jobs::{Ruling, SpecState};
use serde::Serialize;

use crate::chain_spec::{ChainSpec, development_authority, development_validator};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::node::authority;
use crate::cli::table;
use crate::client::{Client, ClientError};
use crate::consensus::ValidatorKeys;
use crate::data_dir::DataDir;

/// The ruling of the validators.
#[derive(Clone, Copy, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
enum Answer {
    /// The definition is right: verdicts under it count again.
    Confirm,
    /// It is not: no verdict under it ever counts, and no job is taken.
    Annul,
}

impl From<Answer> for Ruling {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Confirm => Self::Confirm,
            Answer::Annul => Self::Annul,
        }
    }
}

/// Rule on a definition under which verdicts are paused, with the validator's key of this data directory.
#[derive(Debug, Args)]
pub struct Rule {
    /// The definition, as `assay chain info` prints it.
    spec: SpecId,
    /// What this validator says of it. More than two thirds of all votes decide.
    answer: Answer,
    /// Vote with the public keys of this validator of the chain of `assay network`, counted from one.
    #[arg(long, value_name = "N", hide = true)]
    development_validator: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ruled {
    spec: SpecId,
    ruling: Answer,
    block: Hash,
    /// What holds of it with this vote.
    #[serde(flatten)]
    standing: Option<Standing>,
}

impl Rule {
    /// Signs and submits the vote.
    ///
    /// # Errors
    /// [`Failure`] when verdicts are not paused, this machine is no validator, or the user does not agree.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let key = self.keys(&context.data_dir()?)?.consensus;
        let Self { spec, answer, .. } = self;
        let client = context.client().await?;
        let standing = standing(&client, spec).await?;
        let Some(Standing::Paused { since }) = standing else {
            let found =
                standing.map_or_else(|| "nobody asks about it".into(), |standing| standing.to_string());
            return Err(Failure::usage(format!("ruling on {spec}: {found}"))
                .hint("`assay chain info` lists the definitions that wait for a ruling"));
        };
        if matches!(answer, Answer::Annul) {
            context.confirm(&format!("annulling {spec}: it never serves again"))?;
        }
        let included = client.rule(&key, spec, since, answer.into()).await?;
        let standing = self::standing(&client, spec).await?;
        let ruled = Ruled { spec, ruling: answer, block: included.block, standing };
        context.output().result(&ruled, |ruled| {
            let vote = match answer {
                Answer::Confirm => "confirm: verdicts under it count again",
                Answer::Annul => "annul: no verdict under it counts",
            };
            let standing = ruled.standing.as_ref().map_or_else(String::new, ToString::to_string);
            table::fields(&[
                ("definition", spec.to_string()),
                ("vote", vote.into()),
                ("standing", standing),
                ("block", format!("{:?}", ruled.block)),
            ])
        })?;
        Ok(())
    }

    fn keys(&self, data: &DataDir) -> Result<ValidatorKeys, Failure> {
        if let Some(number) = self.development_validator {
            return Ok(development_validator(number));
        }
        let is_development = data.chain_spec()?.id == ChainSpec::DEVELOPMENT;
        if is_development { Ok(development_authority()) } else { authority(data) }
    }
}

async fn standing(client: &Client, spec: SpecId) -> Result<Option<Standing>, ClientError> {
    let questioned = client.questioned().await?;
    Ok(questioned.into_iter().find(|(one, _)| *one == spec).map(|(_, state)| state.into()))
}

/// What holds of a definition about which the validators were asked.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "standing")]
pub enum Standing {
    /// Verdicts under it wait for a ruling.
    Paused {
        /// Since this height.
        since: u32,
    },
    /// Verdicts under it count.
    Confirmed {
        /// However many they find wrong, up to this height.
        until: u32,
    },
    /// No verdict under it counts.
    Annulled,
}

impl From<SpecState<u32>> for Standing {
    fn from(state: SpecState<u32>) -> Self {
        match state {
            SpecState::Paused { since } => Self::Paused { since },
            SpecState::Confirmed { until } => Self::Confirmed { until },
            SpecState::Annulled => Self::Annulled,
        }
    }
}

impl Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused { since } => {
                write!(f, "paused since block {since}; its validators rule with `assay chain rule`")
            }
            Self::Confirmed { until } => write!(f, "confirmed; verdicts count at least up to block {until}"),
            Self::Annulled => f.write_str("annulled; it serves no more"),
        }
    }
}
