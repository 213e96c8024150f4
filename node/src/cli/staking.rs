//! What came of a change of stake: the same for providers and validators.

use assay_protocol::units::{Amount, Height};
use assay_runtime::{AccountId, Balance, Hash, RuntimeEvent};
use serde::Serialize;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::tokens;
use super::table;
use crate::client::Included;

/// What came of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Outcome {
    /// More is at stake.
    #[serde(rename_all = "camelCase")]
    Staked {
        /// All that is.
        stake: Amount,
        /// Height from which a validator may be chosen.
        #[serde(skip_serializing_if = "Option::is_none")]
        eligible_from: Option<Height>,
    },
    /// Less is, and what was taken out is on its way.
    #[serde(rename_all = "camelCase")]
    Unstaked {
        /// Height from which it can be withdrawn.
        release_at: Height,
    },
    /// What was on its way has arrived.
    Withdrawn {},
    /// A validator that was absent may be chosen again, with all that it has staked.
    Resumed {},
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    account: AccountId,
    block: Hash,
    amount: Amount,
    #[serde(flatten)]
    outcome: Outcome,
}

/// Prints it. `group` is the group of commands that `withdraw` is of.
///
/// # Errors
/// [`Failure`] when standard output is closed.
pub fn changed(
    context: &Context,
    group: &str,
    account: AccountId,
    (block, amount, outcome): (Hash, Balance, Outcome),
) -> Result<(), Failure> {
    let changed = Changed { account, block, amount: Amount::new(amount), outcome };
    context.output().result(&changed, |Changed { account, block, amount, outcome }| {
        let amount = tokens(amount.get());
        let said = match outcome {
            Outcome::Staked { stake, eligible_from } => {
                let from = eligible_from.map(|from| format!("; may decide blocks from height {from} on"));
                format!("{amount} staked, {} in all{}", tokens(stake.get()), from.unwrap_or_default())
            }
            Outcome::Unstaked { release_at } => {
                format!(
                    "{amount} unbonding; take it with `assay {group} withdraw` from height {release_at} on"
                )
            }
            Outcome::Withdrawn {} => format!("{amount} returned"),
            Outcome::Resumed {} => format!("{amount} may decide blocks again from the next session on"),
        };
        table::fields(&[("account", account.to_string()), ("stake", said), ("block", format!("{block:?}"))])
    })?;
    Ok(())
}

/// What the ledger's event says, which must be there when a call of ours has succeeded.
///
/// # Errors
/// [`Failure`] when it is not.
pub fn find<T>(included: &Included, pick: impl Fn(&RuntimeEvent) -> Option<T>) -> Result<T, Failure> {
    included.events.iter().find_map(pick).ok_or_else(|| {
        let cause = format!("reading block {:?}: the call's event is missing", included.block);
        Failure::new(Exit::Internal, cause)
    })
}
