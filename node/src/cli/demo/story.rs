//! What the demo says while it goes on.

use std::path::Path;

use assay_lineage::{LineageError, Verdict as Recomputed};
use assay_protocol::fees::Quote;
use assay_protocol::job::{SettlementRecord, Verdict};
use assay_protocol::party::Role;
use assay_protocol::receipt::{Failure as Refused, Report};
use assay_runtime::AccountId;

use super::Shown;
use super::tally::Share;
use crate::cli::failure::{Exit, Failure};
use crate::cli::job::{Bought, verdict_name};
use crate::cli::output::{Output, tokens};
use crate::cli::table;
use crate::client::Client;
use crate::development::Published;
use crate::keys::Key;
use crate::rpc::JobEvent;

/// Tells the story, or stays silent until its end where one JSON object is wanted.
pub struct Story {
    output: Output,
    /// By their names, providers are told apart.
    providers: Vec<Key>,
}

type Told = Result<(), Failure>;

impl Story {
    /// The first line, before anything takes time.
    pub fn begin(output: Output, providers: Vec<Key>) -> Result<Self, Failure> {
        let story = Self { output, providers };
        story.say("assay demo: register a model, buy an answer, check the receipt; all on this machine")?;
        Ok(story)
    }

    fn say(&self, line: impl AsRef<str>) -> Told {
        Ok(self.output.say(line)?)
    }

    pub async fn node(&self, url: &str, client: &Client) -> Told {
        self.say(format!("\n1  A chain with one authority, blocks every 200 ms, short windows: {url}"))?;
        self.say(format!("   genesis {}", table::short(format!("{:?}", client.genesis()))))
    }

    pub fn registered(&self, published: &Published, recomputed: Result<Recomputed, LineageError>) -> Told {
        let size = |bytes: u64| indicatif::HumanBytes(bytes).to_string();
        self.say("\n2  Alice registers a model that this project trained, with its provenance")?;
        let generator = table::short(published.generator.artifact_id);
        self.say(format!(
            "   corpus     {}  written by {generator} from a seed",
            table::short(published.dataset)
        ))?;
        let trained = &published.trained;
        self.say(format!(
            "   trained    {}  F16 safetensors, {}, with recipe and log",
            table::short(trained.artifact_id),
            size(trained.size_bytes)
        ))?;
        let quantised = &published.quantised;
        self.say(format!(
            "   quantised  {}  Q8_0 GGUF, {}",
            table::short(quantised.artifact_id),
            size(quantised.size_bytes)
        ))?;
        match recomputed {
            Ok(Recomputed::Equal) => {
                self.say("   quantised again just now: equal to the registered file, byte for byte")
            }
            Ok(Recomputed::Differs(difference)) => {
                Err(Failure::new(Exit::Verification, format!("recomputing the quantisation: {difference:?}")))
            }
            Err(error) => Err(Failure::new(Exit::Internal, format!("recomputing the quantisation: {error}"))),
        }
    }

    pub fn market(&self, providers: &[Key]) -> Told {
        let stake = "1000 ASY";
        self.say(format!("\n3  {} providers stake {stake} each and offer the model", providers.len()))
    }

    pub fn asked(&self, question: &str, quote: &Quote) -> Told {
        self.say(format!("\n4  Bob asks: {question}"))?;
        let (escrow, bond) = (tokens(quote.escrow.get()), tokens(quote.bond.get()));
        self.say(format!("   {escrow} of his are held; each seat will stand with a bond of {bond}"))
    }

    pub fn happened(&self, event: &JobEvent) -> Told {
        match event {
            JobEvent::Drawn { role, candidates, .. } => {
                let who = match role {
                    Role::Executor => "an executor is drawn",
                    Role::Verifier => "now that it cannot change, two verifiers are drawn",
                    Role::AtLarge => "a verifier is drawn",
                };
                self.say(format!("   {who} among {candidates}"))
            }
            JobEvent::Committed { seat, account, .. } => {
                let name = self.name(account.as_ref());
                let what =
                    if *seat == 0 { "executes and commits to its answer" } else { "re-executes and commits" };
                self.say(format!("   {name} {what}"))
            }
            JobEvent::Settled { log_index, .. } => {
                self.say(format!("   all commitments open to one value: settled, log entry {log_index}"))
            }
            _ => Ok(()),
        }
    }

    fn name(&self, account: Option<&AccountId>) -> &str {
        let key = self.providers.iter().find(|key| Some(&key.account()) == account);
        key.map_or("a provider", |key| key.name.as_str())
    }

    pub fn answered(&self, job: &Bought) -> Told {
        let answer = job.output.as_deref().unwrap_or("(none)").trim();
        self.say(format!("\n5  The model answers: {}", table::plain(answer)))
    }

    pub fn verified(&self, verified: &Result<Report, Refused>, path: &Path) -> Told {
        match verified {
            Ok(report) => {
                let (k, n) = (report.verifiers, report.eligible);
                self.say(format!(
                    "   {}: {k} of {n} drawn after the commitment re-executed it, bit for bit",
                    verdict_name(report.verdict)
                ))?;
                if report.validators == 1 {
                    self.say("   1 validator: draw and verdict rest on it")?;
                }
                self.say(format!("   receipt checked offline: {} checks hold", report.checked.len()))?;
                self.say(format!("   {}", path.display()))
            }
            Err(refused) => self.say(format!("   the receipt is refused at: {refused}")),
        }
    }

    /// What happened within the challenge window.
    pub fn looked_at_again(&self, record: &SettlementRecord) -> Told {
        self.say("\n6  Nobody contests it, but this executor has no record yet: the ledger draws one more verifier")?;
        let fresh =
            record.seats.iter().find(|seat| record.verdict == Verdict::RetroVerified && seat.round > 1);
        match fresh {
            Some(seat) => {
                let name = self.name(Some(&seat.provider.into()));
                self.say(format!(
                    "   {name} re-executes it as well, paid from the executor's fee: the same bits"
                ))
            }
            None => self.say("   it came to no result; the settlement stands as it was"),
        }
    }

    /// The last lines, or the one JSON object.
    pub fn end(&self, shown: &Shown) -> Told {
        Ok(self.output.result(shown, balances_text)?)
    }
}

fn balances_text(shown: &Shown) -> String {
    let row = |share: &Share| {
        [
            share.who.clone(),
            tokens(share.before.free),
            tokens(share.held),
            tokens(share.released),
            tokens(share.after.free),
        ]
    };
    let rows: Vec<_> = shown.balances.iter().map(row).collect();
    let head = ["account", "free before", "held", "released", "free after"];
    let table = table::table(head, &rows).replace('\n', "\n   ");
    format!(
        "\n7  The challenge window has closed: bonds are free, everybody is paid\n   {table}\n\nDone in {:.1} s.",
        shown.seconds
    )
}
