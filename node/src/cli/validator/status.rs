//! `assay validator status`: who decides, who signs, and how one account stands.

use assay_manifest::Digest32;
use assay_protocol::units::{Amount, Height};
use assay_runtime::{AccountId, Runtime};
use pallet_assay_validators::{Addresses, Announced, Attended, Bond, ValidatorInfo, Validators};
use serde::Serialize;

use super::bond_of;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output::tokens;
use crate::cli::table;
use crate::client::{Client, Unbonding};
use crate::network::Multiaddr;

/// Who decides, and how one account stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// The height that is decided next.
    height: Height,
    validators: Vec<Seat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Standing>,
}

/// A validator, and what it has signed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seat {
    #[serde(flatten)]
    info: ValidatorInfo,
    /// Of the commits of the present session, if it decides already.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Missed>,
    /// Of those of the session before, if it decided when that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_session: Option<Missed>,
}

/// How many commits a validator's signature is not in.
#[derive(Serialize)]
struct Missed {
    commits: u32,
    missed: u32,
}

impl Missed {
    fn of(key: &Digest32, attended: &Attended) -> Option<Self> {
        let commits = attended.commits;
        attended.of(key).map(|signed| Self { commits, missed: commits.saturating_sub(signed) })
    }

    fn row(of: Option<&Self>) -> String {
        of.map_or_else(|| "-".into(), |Self { commits, missed }| format!("{missed} of {commits}"))
    }
}

impl Seat {
    fn row(&self) -> [String; 5] {
        let Self { info, session, last_session } = self;
        let [now, before] = [session, last_session].map(|missed| Missed::row(missed.as_ref()));
        [info.account.to_string(), table::short(info.key), info.power.to_string(), now, before]
    }
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
    /// Whether it has signed none of the commits of the last session in which it decided. It may have to wait until its
    /// owner says that it is back.
    absent: bool,
    /// Where it says that its node is reached on the market's network.
    addresses: Vec<Multiaddr>,
    unbonding: Vec<Unbonding>,
}

impl Standing {
    fn of(account: AccountId, bond: &Bond<u32>, addresses: Vec<Multiaddr>, seats: &[Seat]) -> Self {
        let portion = |part: &pallet_assay_validators::Unbonding<u32>| Unbonding {
            amount: Amount::new(part.amount),
            release_at: Height::new(part.release_at),
        };
        Self {
            stake: Amount::new(bond.stake),
            chosen: seats.iter().any(|seat| seat.info.account == account),
            eligible_from: Height::new(bond.from),
            convicted: bond.convicted,
            absent: bond.absent,
            addresses,
            unbonding: bond.unbonding.iter().map(portion).collect(),
            account,
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let state = match self {
            Self { convicted: true, .. } => "voted for two things in one round; never chosen again".into(),
            Self { chosen: true, absent: true, .. } => "decides blocks, and signed none of a session's".into(),
            Self { chosen: true, .. } => "decides blocks".into(),
            Self { absent: true, .. } => {
                "not chosen, since it signed none of a session's blocks; come back with `assay validator resume`"
                    .into()
            }
            Self { eligible_from, .. } => format!("not chosen; may be from height {eligible_from} on"),
        };
        let mut rows = vec![
            ("account", self.account.to_string()),
            ("stake", tokens(self.stake.get())),
            ("state", state),
        ];
        rows.extend(self.addresses.iter().map(|address| ("address", address.to_string())));
        for Unbonding { amount, release_at } in &self.unbonding {
            rows.push(("unbonding", format!("{}, released at height {release_at}", tokens(amount.get()))));
        }
        rows
    }
}

/// Prints it.
///
/// # Errors
/// [`Failure`] when the node does not answer, or the account has never staked.
pub async fn status(context: &Context, account: Option<&str>) -> Result<(), Failure> {
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
        let rows: Vec<_> = status.validators.iter().map(Seat::row).collect();
        let mut text = format!("who decides height {}\n", status.height);
        text += &table::table(["ACCOUNT", "KEY", "VOTES", "MISSED", "SESSION BEFORE"], &rows);
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
    let (session, before): (Attended, Attended) = client.runtime("LedgerApi_attendance", ()).await?;
    let seat = |info: ValidatorInfo| {
        let [session, last_session] = [&session, &before].map(|attended| Missed::of(&info.key, attended));
        Seat { info, session, last_session }
    };
    let validators: Vec<Seat> = validators.into_iter().map(seat).collect();
    let standing = match account {
        None => None,
        Some(account) => {
            let bond = bond_of(client, &account).await?;
            let addresses = addresses_of(client, &account).await?;
            bond.map(|bond| Standing::of(account, &bond, addresses, &validators))
        }
    };
    Ok(Status { height: Height::new(head.saturating_add(1)), validators, account: standing })
}

/// What of the bytes that an account announced are addresses.
async fn addresses_of(client: &Client, account: &AccountId) -> Result<Vec<Multiaddr>, Failure> {
    let announced: Option<Announced> =
        client.storage(&Addresses::<Runtime>::hashed_key_for(account), None).await?;
    let announced = announced.unwrap_or_default();
    Ok(announced.into_iter().filter_map(|bytes| Multiaddr::try_from(bytes.into_inner()).ok()).collect())
}
