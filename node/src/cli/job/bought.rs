//! A job that was bought from here and has come to its end.

use std::path::PathBuf;

use assay_manifest::JobId;
use assay_protocol::commitment::Finish;
use assay_protocol::job::{SettlementRecord, Verdict};
use assay_runtime::AccountId;
use serde::Serialize;
use serde_json::{Value, json};

use super::kept::Kept;
use super::verdict_name;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::{progress, table};
use crate::client::{Client, Order, is_right};
use crate::keys::Key;
use crate::rpc::JobEvent;

/// A job that has come to its end.
#[derive(Debug, Serialize)]
pub struct Bought {
    /// The job.
    pub id: JobId,
    /// `settled`, `inconclusive` or `expired`.
    pub state: &'static str,
    /// Who judged.
    pub verdict: Verdict,
    /// Whether the answer was found right.
    pub right: bool,
    /// Who executed it.
    pub executor: Option<AccountId>,
    /// Who re-executed it and agreed.
    pub verifiers: Vec<AccountId>,
    /// The answer.
    pub output: Option<String>,
    /// Why there is an answer and it could not be fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Tokens of prompt and answer.
    pub usage: Value,
    /// Why the answer ended.
    pub finish: Option<Finish>,
    /// The receipt, in its opened form if the answer was fetched.
    pub receipt: PathBuf,
}

/// Waits for the end of a job, handing its input to whoever else is drawn to execute it; keeps its receipt and
/// fetches its answer.
///
/// # Errors
/// [`Failure`] when the connection breaks or the files cannot be written.
pub async fn finish(
    context: &Context,
    client: &Client,
    (key, order): (&Key, &Order),
    mut tell: impl FnMut(&JobEvent),
) -> Result<Bought, Failure> {
    let spinner = progress::spinner(context.output(), "waiting for the job");
    let verdict = client.follow_order(key, order, |event| tell(event)).await;
    spinner.finish_and_clear();
    let verdict = verdict?;
    let state = client.job(&order.job).await?;
    let record = state.settlement.ok_or_else(|| {
        Failure::new(Exit::Internal, format!("reading job {}: the node has no record of its end", order.job))
    })?;
    let kept = Kept::of(context, client, order, &record).await?;
    Ok(Bought::new(order, verdict, &record, kept))
}

impl Bought {
    fn new(order: &Order, verdict: Verdict, record: &SettlementRecord, kept: Kept) -> Self {
        use assay_protocol::job::SeatOutcome::Right;
        use assay_protocol::party::Role::Executor;
        let last = || record.seats.iter().filter(|seat| seat.round == record.round);
        let executor = last().find(|seat| seat.role == Executor).map(|seat| seat.provider.into());
        let agreed = last().filter(|seat| seat.role.verifies() && seat.outcome == Right);
        let (output, missing) = match kept.answer {
            Ok(output) => (output, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let n_out = record.claim.map_or(0, |claim| claim.n_out);
        Self {
            id: order.job,
            state: match (verdict, record.claim) {
                (Verdict::Inconclusive, None) => "expired",
                (Verdict::Inconclusive, Some(_)) => "inconclusive",
                _ => "settled",
            },
            verdict,
            right: is_right(record),
            executor,
            verifiers: agreed.map(|seat| seat.provider.into()).collect(),
            usage: json!({ "nIn": record.request.n_in, "nOut": n_out }),
            finish: output.as_ref().map(|output| output.finish),
            output: output.map(|output| output.text),
            missing,
            receipt: kept.receipt,
        }
    }

    /// Lines for people.
    pub fn text(&self) -> String {
        let answer = match (&self.output, &self.missing) {
            (Some(output), _) => table::plain(output),
            (None, Some(cause)) => format!("(the answer could not be fetched: {})", table::plain(cause)),
            (None, None) => "(no answer)".into(),
        };
        let mut rows = vec![("job", self.id.to_string()), ("state", self.state.to_owned())];
        rows.push(("verdict", verdict_name(self.verdict)));
        rows.extend(self.executor.iter().map(|account| ("executor", account.to_string())));
        rows.extend(self.verifiers.iter().map(|account| ("verifier", account.to_string())));
        rows.push(("receipt", self.receipt.display().to_string()));
        format!("{}\n\n{}", answer, table::fields(&rows))
    }

    /// Whether the answer is there, and right.
    ///
    /// # Errors
    /// [`Failure`] when it is not.
    pub fn check(&self) -> Result<(), Failure> {
        let Self { id, state, missing, .. } = self;
        let look = format!("see what was paid and returned with `assay job show {id}`");
        if !self.right {
            let verdict = verdict_name(self.verdict);
            let cause =
                format!("job {id}: it ended without a right answer (state {state}, verdict {verdict})");
            return Err(Failure::new(Exit::Verification, cause).hint(look));
        }
        match missing {
            None => Ok(()),
            Some(cause) => {
                let cause = format!("job {id}: its answer could not be fetched: {cause}");
                Err(Failure::new(Exit::Internal, cause).hint(format!("try again with `assay job show {id}`")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use assay_manifest::Digest32;
    use assay_protocol::commitment::{FailCode, Opening, ValueKind};

    use super::*;
    use crate::cli::testing::settlement;

    fn record(verdict: Verdict, kind: ValueKind) -> SettlementRecord {
        let opening = Opening { kind, position: 0, code: FailCode::None, blind: Digest32::ZERO };
        SettlementRecord { verdict, opening: Some(opening), ..settlement() }
    }

    fn bought(verdict: Verdict, kind: ValueKind, missing: Option<&str>) -> Bought {
        let record = record(verdict, kind);
        Bought {
            id: record.job,
            state: "settled",
            verdict,
            right: is_right(&record),
            executor: None,
            verifiers: Vec::new(),
            output: None,
            missing: missing.map(Into::into),
            usage: Value::Null,
            finish: None,
            receipt: "r.json".into(),
        }
    }

    #[test]
    fn an_answer_is_right_only_if_somebody_beside_its_executor_stands_by_it() {
        for (verdict, right) in [
            (Verdict::Verified, true),
            (Verdict::VerifiedThin, true),
            (Verdict::RetroVerified, true),
            (Verdict::Refereed, true),
            (Verdict::Committed, false),
            (Verdict::SelfSigned, false),
            (Verdict::Inconclusive, false),
        ] {
            assert_eq!(is_right(&record(verdict, ValueKind::Ok)), right, "{verdict:?}");
            assert!(!is_right(&record(verdict, ValueKind::Reject)), "{verdict:?}");
        }
        assert!(!is_right(&settlement()));
    }

    #[test]
    fn a_job_that_ended_otherwise_says_how_and_where_to_look() {
        let failure = bought(Verdict::Committed, ValueKind::Ok, None).check().unwrap_err();
        assert_eq!(failure.exit(), Exit::Verification);
        assert!(failure.cause().contains("state settled, verdict committed"), "{}", failure.cause());
        assert!(failure.next_step().unwrap().contains("assay job show"));
    }

    #[test]
    fn a_right_answer_that_could_not_be_fetched_is_told_beside_its_receipt() {
        let bought = bought(Verdict::Verified, ValueKind::Ok, Some("the node forgot it"));
        let text = bought.text();
        assert!(
            text.contains("could not be fetched: the node forgot it") && text.contains("r.json"),
            "{text}"
        );
        assert!(bought.check().unwrap_err().cause().contains("the node forgot it"));
    }
}
