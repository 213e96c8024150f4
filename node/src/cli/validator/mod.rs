//! `assay validator`: take part in deciding blocks.

mod keys;

use std::path::PathBuf;

use assay_protocol::signature::Signature;
use assay_protocol::units::{Amount, Height};
use assay_runtime::{AccountId, Balance, Runtime, RuntimeEvent};
use clap::Subcommand;
use pallet_assay_validators::{Bond, Bonds, Call, Event, ValidatorInfo, Validators};
use serde::Serialize;

use self::keys::{MachineKeys, keys};
use super::context::Context;
use super::failure::Failure;
use super::output::{parse_tokens, tokens};
use super::staking::{Outcome, changed, find};
use super::table;
use crate::client::{Client, Unbonding};

/// What is to be done as a validator, or seen of validators.
#[derive(Debug, Subcommand)]
pub enum ValidatorCommand {
    /// Make the keys with which this machine decides blocks for an account, and print what the account has to stake
    /// on. The account's own key is not needed, and need never be on this machine.
    Keys {
        /// Address, name of a key, or development URI; the key to sign with if absent.
        account: Option<String>,
    },
    /// Stake tokens that stand for your votes: a vote a whole token. You may be chosen two whole sessions later.
    Stake {
        /// Tokens, such as 1000.
        #[arg(value_parser = parse_tokens)]
        amount: Balance,
        /// What `assay validator keys --json` printed on the machine that is to decide; this machine's keys if absent.
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
    },
    /// Begin to take stake out; without any you leave with the session. It is released after the unbonding window.
    Unstake {
        /// Tokens, such as 1000.
        #[arg(value_parser = parse_tokens)]
        amount: Balance,
    },
    /// Take back stake that has been released.
    Withdraw,
    /// Show who decides the next block, and how an account stands.
    Status {
        /// Address, name of a key, or development URI; the account of --key if absent.
        account: Option<String>,
    },
}

impl ValidatorCommand {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] when the node or the ledger refuses.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Keys { account } => keys(context, account.as_deref()).await,
            Self::Stake { amount, keys } => stake(context, amount, keys).await,
            Self::Unstake { amount } => unstake(context, amount).await,
            Self::Withdraw => withdraw(context).await,
            Self::Status { account } => status(context, account.as_deref()).await,
        }
    }
}

async fn stake(context: &Context, amount: Balance, file: Option<PathBuf>) -> Result<(), Failure> {
    let key = context.key()?;
    let client = context.client().await?;
    let (keys, proof) = match (bond_of(&client, &key.account()).await?, file) {
        // More stake leaves the keys as they are, and the ledger asks for their proof no more.
        (Some(bond), None) => (bond.keys, Signature([0; 64])),
        (_, Some(file)) => MachineKeys::read(&file)?.proven(&client, &key.account())?,
        (None, None) => {
            MachineKeys::local(context, &client, &key.account())?.proven(&client, &key.account())?
        }
    };
    context.confirm(&format!("{} are staked", tokens(amount)))?;
    let call = Call::<Runtime>::bond { amount, keys, proof };
    let included = client.submit(&key, "staking", call.into()).await?;
    let outcome = find(&included, |event| match event {
        RuntimeEvent::Validators(Event::Bonded { stake, from, .. }) => {
            let eligible_from = Some(Height::new(*from));
            Some(Outcome::Staked { stake: Amount::new(*stake), eligible_from })
        }
        _ => None,
    })?;
    changed(context, "validator", key.account(), (included.block, amount, outcome))
}

async fn unstake(context: &Context, amount: Balance) -> Result<(), Failure> {
    let key = context.key()?;
    let client = context.client().await?;
    let included = client.submit(&key, "unstaking", Call::<Runtime>::unbond { amount }.into()).await?;
    let outcome = find(&included, |event| match event {
        RuntimeEvent::Validators(Event::Unbonded { release_at, .. }) => {
            Some(Outcome::Unstaked { release_at: Height::new(*release_at) })
        }
        _ => None,
    })?;
    changed(context, "validator", key.account(), (included.block, amount, outcome))
}

async fn withdraw(context: &Context) -> Result<(), Failure> {
    let key = context.key()?;
    let client = context.client().await?;
    let included = client.submit(&key, "withdrawing stake", Call::<Runtime>::withdraw {}.into()).await?;
    let amount = find(&included, |event| match event {
        RuntimeEvent::Validators(Event::Withdrawn { amount, .. }) => Some(*amount),
        _ => None,
    })?;
    changed(context, "validator", key.account(), (included.block, amount, Outcome::Withdrawn {}))
}

/// Who decides, and how one account stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// The height that is decided next.
    height: Height,
    validators: Vec<ValidatorInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Standing>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    account: AccountId,
    stake: Amount,
    /// Whether it decides the next block.
    chosen: bool,
    /// The first height at which it could be chosen.
    eligible_from: Height,
    /// Whether it voted for two things in one round, and is never chosen again.
    convicted: bool,
    unbonding: Vec<Unbonding>,
}

impl Standing {
    fn of(account: AccountId, bond: &Bond<u32>, validators: &[ValidatorInfo]) -> Self {
        let portion = |part: &pallet_assay_validators::Unbonding<u32>| Unbonding {
            amount: Amount::new(part.amount),
            release_at: Height::new(part.release_at),
        };
        Self {
            stake: Amount::new(bond.stake),
            chosen: validators.iter().any(|validator| validator.account == account),
            eligible_from: Height::new(bond.from),
            convicted: bond.convicted,
            unbonding: bond.unbonding.iter().map(portion).collect(),
            account,
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let state = match self {
            Self { convicted: true, .. } => "voted for two things in one round; never chosen again".into(),
            Self { chosen: true, .. } => "decides blocks".into(),
            Self { eligible_from, .. } => format!("not chosen; may be from height {eligible_from} on"),
        };
        let mut rows = vec![
            ("account", self.account.to_string()),
            ("stake", tokens(self.stake.get())),
            ("state", state),
        ];
        for Unbonding { amount, release_at } in &self.unbonding {
            rows.push(("unbonding", format!("{}, released at height {release_at}", tokens(amount.get()))));
        }
        rows
    }
}

async fn status(context: &Context, account: Option<&str>) -> Result<(), Failure> {
    let account = match account {
        Some(text) => Some(context.account_of(text)?),
        None if context.names_key() => Some(context.account()?),
        None => None,
    };
    let client = context.client().await?;
    let head = client.height().await?;
    let status = read_status(&client, head, account.clone()).await?;
    if let (Some(account), None) = (&account, &status.account) {
        return Err(Failure::usage(format!("looking up the validator {account}: it has never staked"))
            .hint("stake first, with `assay validator stake AMOUNT`"));
    }
    context.output().result(&status, |status| {
        let row =
            |info: &ValidatorInfo| [info.account.to_string(), table::short(info.key), info.power.to_string()];
        let rows: Vec<_> = status.validators.iter().map(row).collect();
        let mut text = format!("who decides height {}\n", status.height);
        text += &table::table(["ACCOUNT", "KEY", "VOTES"], &rows);
        if let Some(standing) = &status.account {
            text += "\n\n";
            text += &table::fields(&standing.rows());
        }
        text
    })?;
    Ok(())
}

async fn read_status(client: &Client, head: u32, account: Option<AccountId>) -> Result<Status, Failure> {
    let set = Validators::<Runtime>::hashed_key();
    let validators: Vec<ValidatorInfo> = client.storage(&set, None).await?.unwrap_or_default();
    let standing = match account {
        None => None,
        Some(account) => {
            let bond = bond_of(client, &account).await?;
            bond.map(|bond| Standing::of(account, &bond, &validators))
        }
    };
    Ok(Status { height: Height::new(head.saturating_add(1)), validators, account: standing })
}

async fn bond_of(client: &Client, account: &AccountId) -> Result<Option<Bond<u32>>, Failure> {
    Ok(client.storage(&Bonds::<Runtime>::hashed_key_for(account), None).await?)
}
