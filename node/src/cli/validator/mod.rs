//! `assay validator`: take part in deciding blocks.

mod announce;
mod keys;
mod status;

use std::path::PathBuf;

use assay_protocol::signature::Signature;
use assay_protocol::units::{Amount, Height};
use assay_runtime::{AccountId, Balance, Runtime, RuntimeEvent};
use clap::Subcommand;
use pallet_assay_validators::{Bond, Bonds, Call, Event};

use self::announce::announce;
use self::keys::{MachineKeys, keys};
use self::status::status;
use super::context::Context;
use super::failure::Failure;
use super::node::multiaddr;
use super::output::{parse_tokens, tokens};
use super::staking::{Outcome, changed, find};
use crate::client::Client;
use crate::network::Multiaddr;

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
    /// Say that your validator is back, after a whole session in which nobody saw its votes.
    Resume,
    /// Say where your node is reached on the market's network, so that a node that knows nobody else finds the way in
    /// through you; without an address, nowhere. A node reads it from the ledger while you decide blocks.
    Announce {
        /// A multiaddress with the node's name, such as `/ip4/HOST/udp/30334/quic-v1/p2p/NAME`; two at most.
        #[arg(value_name = "MULTIADDR", value_parser = multiaddr)]
        addresses: Vec<Multiaddr>,
    },
    /// Show who decides the next block, how many of the last commits each has missed, and how an account stands.
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
            Self::Resume => resume(context).await,
            Self::Announce { addresses } => announce(context, addresses).await,
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

async fn resume(context: &Context) -> Result<(), Failure> {
    let key = context.key()?;
    let client = context.client().await?;
    let included = client.submit(&key, "resuming", Call::<Runtime>::resume {}.into()).await?;
    let stake = bond_of(&client, &key.account()).await?.map_or(0, |bond| bond.stake);
    find(&included, |event| match event {
        RuntimeEvent::Validators(Event::Returned { .. }) => Some(()),
        _ => None,
    })?;
    changed(context, "validator", key.account(), (included.block, stake, Outcome::Resumed {}))
}

async fn bond_of(client: &Client, account: &AccountId) -> Result<Option<Bond<u32>>, Failure> {
    Ok(client.storage(&Bonds::<Runtime>::hashed_key_for(account), None).await?)
}
