//! `assay claim`: what you say later of what you claimed, and of your keys. It stays in the log for ever.

use assay_manifest::status::{Reason, Status, StatusKind, StatusSubject};
use assay_manifest::{ArtifactId, Digest32};
use assay_runtime::{AccountId, Hash, Runtime};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::artifact::{resolve, status_text, status_words};
use super::context::Context;
use super::failure::Failure;
use super::output::tokens;
use super::table;
use crate::client::{Claim, Client, Included, StatedStatus};

/// What is to be said.
#[derive(Debug, Subcommand)]
pub enum ClaimCommand {
    /// You no longer stand by it.
    Revoke {
        #[command(flatten)]
        about: About,
    },
    /// Another one should be used.
    Supersede {
        #[command(flatten)]
        about: About,
        /// The other artifact, edge or key.
        #[arg(long, value_name = "ID")]
        by: Digest32,
    },
    /// Somebody else may have used a key of yours: a warning, which voids nothing.
    Compromised {
        #[command(flatten)]
        about: About,
        /// Since this height.
        #[arg(long, value_name = "HEIGHT")]
        since: u32,
    },
    /// Take a registration or an edge back, with its deposit; its log entry stays.
    Withdraw {
        /// What.
        #[arg(value_name = SUBJECT)]
        subject: SubjectArg,
    },
    /// Show what an account says of its claim or key now.
    Show {
        /// What.
        #[arg(value_name = SUBJECT)]
        subject: SubjectArg,
        /// Whose claim or key, instead of yours: an address, or the name of a key.
        #[arg(long)]
        account: Option<String>,
    },
}

const SUBJECT: &str = "ARTIFACT|ARTIFACT#EDGE|key:HEX";

/// Of what, and why.
#[derive(Debug, Args)]
pub struct About {
    /// An artifact as `assay model show` understands it, the id of an edge behind it, or a public key.
    #[arg(value_name = SUBJECT)]
    subject: SubjectArg,
    /// Why: unspecified, mistake, license, security, privacy or retired.
    #[arg(long, default_value = "unspecified", value_parser = parse_reason)]
    reason: Reason,
}

/// A subject as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectArg {
    /// What [`resolve`] understands.
    Artifact(String),
    /// An edge of it.
    Edge(String, Digest32),
    /// A public key.
    Key(Digest32),
}

impl std::str::FromStr for SubjectArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(key) = text.strip_prefix("key:") {
            return key.parse().map(Self::Key).map_err(|error| format!("{key:?} is no public key: {error}"));
        }
        match text.rsplit_once('#') {
            None => Ok(Self::Artifact(text.to_owned())),
            Some((artifact, edge)) => {
                let id = edge.parse().map_err(|error| format!("{edge:?} is no edge's id: {error}"))?;
                Ok(Self::Edge(artifact.to_owned(), id))
            }
        }
    }
}

fn parse_reason(text: &str) -> Result<Reason, String> {
    let names = || Reason::ALL.iter().map(|reason| reason.name()).collect::<Vec<_>>().join(", ");
    let found = Reason::ALL.iter().find(|reason| reason.name() == text);
    found.copied().ok_or_else(|| format!("the reasons are {}, not {text:?}", names()))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stated {
    subject: StatusSubject,
    account: AccountId,
    #[serde(flatten)]
    status: Option<StatedStatus>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Withdrawn {
    artifact_id: ArtifactId,
    block: Hash,
}

impl ClaimCommand {
    /// Says it, or shows what is said.
    ///
    /// # Errors
    /// [`Failure`] when the subject is not known, or the ledger refuses.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Revoke { about } => about.state(context, StatusKind::Revoked).await,
            Self::Supersede { about, by } => about.state(context, StatusKind::Superseded { by }).await,
            Self::Compromised { about, since } => {
                about.state(context, StatusKind::CompromisedSince { height: since }).await
            }
            Self::Withdraw { subject } => withdraw(context, &subject).await,
            Self::Show { subject, account } => show(context, &subject, account.as_deref()).await,
        }
    }
}

impl About {
    async fn state(self, context: &Context, kind: StatusKind) -> Result<(), Failure> {
        let key = context.key()?;
        let client = context.client().await?;
        let subject = subject_of(context, &client, &self.subject).await?;
        let status = Status { subject, kind, reason: self.reason };
        status.check().map_err(Failure::usage)?;
        let account = key.account();
        if client.status(&subject, &account).await?.is_none() {
            let held = pallet_assay_artifacts::Pallet::<Runtime>::deposit(0);
            let said = status_words(&kind, self.reason);
            context.confirm(&format!("{} are held for ever, to say {said:?}", tokens(held)))?;
        }
        client.state_status(&key, status).await?;
        let status = client.status(&subject, &account).await?;
        context.output().result(&Stated { subject, account, status }, stated_text)?;
        Ok(())
    }
}

async fn show(context: &Context, subject: &SubjectArg, account: Option<&str>) -> Result<(), Failure> {
    let account = match account {
        Some(account) => context.account_of(account)?,
        None => context.account()?,
    };
    let client = context.client().await?;
    let subject = subject_of(context, &client, subject).await?;
    let status = client.status(&subject, &account).await?;
    context.output().result(&Stated { subject, account, status }, stated_text)?;
    Ok(())
}

async fn withdraw(context: &Context, subject: &SubjectArg) -> Result<(), Failure> {
    let key = context.key()?;
    let client = context.client().await?;
    let (artifact_id, claim) = match subject_of(context, &client, subject).await? {
        StatusSubject::Artifact(id) => (id, Claim::Registration(id)),
        StatusSubject::Edge { child, id } => (child, Claim::Edge { child, id }),
        StatusSubject::Key(_) => {
            return Err(Failure::usage("withdrawing a key: only registrations and edges can be withdrawn")
                .hint("warn others with `assay claim compromised` or `assay claim revoke`"));
        }
    };
    let Included { block, .. } = client.withdraw(&key, claim).await?;
    context.output().result(&Withdrawn { artifact_id, block }, |Withdrawn { artifact_id, block }| {
        table::fields(&[("withdrawn", artifact_id.to_string()), ("block", format!("{block:?}"))])
    })?;
    Ok(())
}

async fn subject_of(
    context: &Context,
    client: &Client,
    subject: &SubjectArg,
) -> Result<StatusSubject, Failure> {
    Ok(match subject {
        SubjectArg::Artifact(reference) => {
            StatusSubject::Artifact(resolve(context, client, reference).await?.artifact_id)
        }
        SubjectArg::Edge(reference, id) => {
            let child = resolve(context, client, reference).await?.artifact_id;
            StatusSubject::Edge { child, id: *id }
        }
        SubjectArg::Key(key) => StatusSubject::Key(*key),
    })
}

fn stated_text(stated: &Stated) -> String {
    let Stated { subject, account, status } = stated;
    let what = match subject {
        StatusSubject::Artifact(id) => ("artifact", id.to_string()),
        StatusSubject::Edge { id, .. } => ("edge", id.to_string()),
        StatusSubject::Key(key) => ("key", key.to_string()),
    };
    let says = status.as_ref().map_or_else(|| "nothing".into(), status_text);
    table::fields(&[what, ("account", account.to_string()), ("says", says)])
}

/// What an account said of its own, in a line.
pub fn said(status: &Status) -> String {
    let of = match status.subject {
        StatusSubject::Artifact(_) => "its registration".to_owned(),
        StatusSubject::Edge { id, .. } => format!("its edge {}", table::short(id)),
        StatusSubject::Key(key) => format!("its key {}", table::short(key)),
    };
    format!("{of}: {}", status_words(&status.kind, status.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_an_artifact_an_edge_of_it_or_a_key() {
        let id = Digest32::from_bytes([7; 32]);
        let read = |text: String| text.parse::<SubjectArg>();
        assert_eq!(read("//Alice/demo".into()), Ok(SubjectArg::Artifact("//Alice/demo".into())));
        assert_eq!(read(format!("demo#{id}")), Ok(SubjectArg::Edge("demo".into(), id)));
        assert_eq!(read(format!("key:{id}")), Ok(SubjectArg::Key(id)));
        assert!(read("key:x".into()).is_err());
        assert!(read("demo#x".into()).is_err());
    }

    #[test]
    fn reasons_are_read_by_their_words() {
        for reason in Reason::ALL {
            assert_eq!(parse_reason(reason.name()), Ok(*reason));
        }
        assert!(parse_reason("because").is_err());
    }
}
