//! What a receipt says, for people.

use assay_protocol::commitment::{Finish, ValueKind};
use assay_protocol::header::HeaderView;
use assay_protocol::job::{SeatOutcome, SettlementRecord, Verdict};
use assay_protocol::party::{AccountBytes, Role};
use assay_protocol::receipt::{Disclosure, LedgerReceipt, Receipt, Report, SelfReceipt, Trust};
use assay_protocol::record::{Class, Policy};
use assay_protocol::request::{Prompt, Request};
use assay_protocol::units::{Amount, Height};
use assay_runtime::AccountId;
use serde::Serialize;

use super::provenance::{self, told};
use crate::cli::output::tokens;
use crate::cli::table;

/// What a receipt amounts to: proven where it comes from a [`Report`], said where it comes from the receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    class: Class,
    verdict: Verdict,
    result: Option<ValueKind>,
    verifiers: usize,
    eligible: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_large: Option<u32>,
    validators: usize,
    as_of: Option<Height>,
}

impl From<&Report> for Claims {
    fn from(report: &Report) -> Self {
        Self {
            class: report.class,
            verdict: report.verdict,
            result: report.result,
            verifiers: report.verifiers as usize,
            eligible: report.eligible,
            at_large: report.at_large,
            validators: report.validators as usize,
            as_of: Some(report.as_of).filter(|height| *height > Height::ZERO),
        }
    }
}

impl Claims {
    /// What the receipt says, unchecked.
    pub fn of(receipt: &Receipt, trust: &Trust) -> Self {
        match receipt {
            Receipt::Ledger(receipt) => Self {
                class: receipt.settlement.request.class,
                verdict: receipt.settlement.verdict,
                result: receipt.settlement.opening.map(|opening| opening.kind),
                verifiers: right_verifiers(&receipt.settlement),
                eligible: receipt.settlement.verifier_draw.map_or(0, |facts| facts.eligible),
                at_large: receipt.settlement.at_large_draw.map(|facts| facts.eligible),
                validators: trust.validators.validators().len(),
                as_of: HeaderView::decode(&receipt.checkpoint.header).ok().map(|header| header.height),
            },
            Receipt::Own(receipt) => Self {
                class: receipt.statement.class,
                verdict: Verdict::SelfSigned,
                result: None,
                verifiers: 0,
                eligible: 0,
                at_large: None,
                validators: 0,
                as_of: None,
            },
        }
    }

    /// As lines.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let validators = match self.validators {
            0 => "none: no ledger recorded it".into(),
            1 => "1 validator: draw and verdict rest on it".into(),
            n => format!("{n} validators"),
        };
        let result = self.result.map_or_else(|| "none".into(), |result| word(&result));
        vec![
            ("class", word(&self.class)),
            ("verdict", word(&self.verdict)),
            ("result", result),
            ("verifiers", self.drawn()),
            ("validators", validators),
            ("as of", self.as_of.map_or_else(|| "no height".into(), |height| format!("height {height}"))),
        ]
    }

    fn drawn(&self) -> String {
        let drawn = format!("{} of {} accounts that could be drawn", self.verifiers, self.eligible);
        match self.at_large {
            Some(strangers) => format!("{drawn}, and {strangers} at large, who do not serve the model"),
            None => drawn,
        }
    }
}

fn right_verifiers(record: &SettlementRecord) -> usize {
    let right = |role: Role, outcome| role.verifies() && outcome == SeatOutcome::Right;
    record.seats.iter().filter(|seat| right(seat.role, seat.outcome)).count()
}

/// Everything that a receipt says.
pub fn text(receipt: &Receipt) -> String {
    match receipt {
        Receipt::Ledger(receipt) => ledger_text(receipt),
        Receipt::Own(receipt) => self_text(receipt),
    }
}

fn ledger_text(receipt: &LedgerReceipt) -> String {
    let record = &receipt.settlement;
    let asked = &record.request;
    let mut rows = vec![
        ("job", record.job.to_string()),
        ("chain", record.genesis.to_string()),
        ("requester", address(&record.requester)),
        ("model", asked.model_id.to_string()),
        ("asked", format!("{} tokens in, at most {} out, {}", asked.n_in, asked.n_max, policy(asked.policy))),
    ];
    rows.extend(
        record.claim.map(|claim| ("answered", format!("{} tokens, {}", claim.n_out, finish(claim.finish)))),
    );
    rows.push(("class", word(&asked.class)));
    rows.push(("verdict", word(&record.verdict)));
    rows.extend(seats(record));
    rows.push(("payments", payments(record)));
    let entry = format!("log entry {} of {}", receipt.inclusion.index, receipt.inclusion.size);
    rows.push(("settled", format!("height {}, {entry}", record.settled_at)));
    rows.extend(provenance::rows(&told(receipt)));
    rows.extend(opened(receipt.opened.as_ref()));
    rows.push(("checked", "nothing; use `assay receipt verify`".into()));
    table::fields(&rows)
}

fn seats(record: &SettlementRecord) -> impl Iterator<Item = (&'static str, String)> {
    let paid = |amount: Amount| tokens(amount.get());
    record.seats.iter().map(move |seat| {
        let (role, outcome) = (word(&seat.role), word(&seat.outcome));
        (
            if seat.index == 0 { "seats" } else { "" },
            format!("{role} {} {outcome}, paid {}", address(&seat.provider), paid(seat.paid)),
        )
    })
}

/// What was paid for a job, and returned.
pub fn payments(record: &SettlementRecord) -> String {
    let paid = record.payments;
    let [executor, verifiers, pot, burned, refunded] =
        [paid.executor, paid.verifiers, paid.pot, paid.burned, paid.refunded]
            .map(|amount| tokens(amount.get()));
    format!("executor {executor}, verifiers {verifiers}, pot {pot}, burned {burned}, refunded {refunded}")
}

fn opened(opened: Option<&Disclosure>) -> Vec<(&'static str, String)> {
    let Some(Disclosure { salt, input, output, trace }) = opened else {
        return vec![("opened", "nothing: request and answer are not disclosed".into())];
    };
    let mut rows = Vec::new();
    rows.extend(input.iter().flat_map(|input| prompt(&input.request)));
    rows.extend(output.iter().map(|output| ("tokens", format!("{:?}", output.tokens))));
    rows.extend(trace.iter().map(|trace| ("trace root", trace.trace_root.to_string())));
    rows.extend(salt.iter().map(|_| ("salt", "disclosed".into())));
    rows
}

fn self_text(receipt: &SelfReceipt) -> String {
    let statement = &receipt.statement;
    let mut rows = vec![
        ("signer", address(&statement.signer)),
        ("model", statement.model_id.to_string()),
        ("class", word(&statement.class)),
        ("verdict", word(&Verdict::SelfSigned)),
    ];
    rows.extend(prompt(&statement.request));
    rows.extend([
        ("seed", statement.seed.to_string()),
        ("tokens", format!("{:?}", statement.tokens)),
        ("finish", finish(statement.finish)),
        ("trace root", statement.trace_root.to_string()),
        ("checked", "nothing; use `assay receipt verify`".into()),
    ]);
    table::fields(&rows)
}

fn prompt(request: &Request) -> Vec<(&'static str, String)> {
    match &request.prompt {
        Prompt::Text(text) => vec![("prompt", table::plain(text))],
        Prompt::Chat(messages) => {
            let line =
                |role: &str, content: &str| format!("{}: {}", table::plain(role), table::plain(content));
            messages.iter().map(|message| ("prompt", line(&message.role, &message.content))).collect()
        }
    }
}

/// Why an answer ended, in words.
pub fn finish(finish: Finish) -> String {
    match finish {
        Finish::Eos => "ended by the model".into(),
        Finish::Stop(index) => format!("ended by stop string {}", u32::from(index) + 1),
        Finish::Length => "ended by its length".into(),
        Finish::Cancelled => "cancelled".into(),
        Finish::Failed => "failed".into(),
    }
}

fn policy(policy: Policy) -> String {
    match policy {
        Policy::Verified { verifiers } => format!("{verifiers} verifiers"),
        Policy::Replicated { executions } => format!("{executions} executions"),
        Policy::VerifiedAtLarge { verifiers, .. } => format!("{verifiers} verifiers, one of them at large"),
    }
}

fn address(account: &AccountBytes) -> String {
    AccountId::from(*account).to_string()
}

/// The word that the JSON form has for a value.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_print_as_addresses_and_values_as_their_json_words() {
        let alice = crate::keys::Key::development("//Alice").unwrap();
        assert_eq!(address(&alice.account().into()), alice.address());
        assert_eq!(word(&Verdict::VerifiedThin), "verified_thin");
    }
}
