//! `assay chain rule`: say, as a validator, whether a definition is right under which verdicts are paused.

use std::fmt::{self, Display};

use assay_manifest::SpecId;
use assay_runtime::Hash;
use clap::{Args, ValueEnum};
use pallet_assay_jobs::{Ruling, SpecState};
use serde::Serialize;

use crate::chain_spec::development_authority;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::node::authority;
use crate::cli::table;

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
    /// What the validators say of it.
    answer: Answer,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ruled {
    spec: SpecId,
    ruling: Answer,
    block: Hash,
}

impl Rule {
    /// Signs and submits the ruling.
    ///
    /// # Errors
    /// [`Failure`] when verdicts are not paused, this machine is no validator, or the user does not agree.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self { spec, answer } = self;
        let data = context.data_dir()?;
        let is_development = data.chain_spec()?.is_development();
        let key = if is_development { development_authority() } else { authority(&data)? }.consensus;
        let client = context.client().await?;
        let questioned = client.questioned().await?;
        let standing = questioned.into_iter().find(|(one, _)| *one == spec).map(|(_, state)| state.into());
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
        let ruled = Ruled { spec, ruling: answer, block: included.block };
        context.output().result(&ruled, |ruled| {
            let said = match answer {
                Answer::Confirm => "confirmed: verdicts under it count again",
                Answer::Annul => "annulled: no verdict under it counts",
            };
            table::fields(&[
                ("definition", spec.to_string()),
                ("ruling", said.into()),
                ("block", format!("{:?}", ruled.block)),
            ])
        })?;
        Ok(())
    }
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
