//! The tables of `docs/ECONOMICS.md`: one that follows from the shipped parameters alone, one that was played.

use std::fmt::Write;

use assay_protocol::fees::{BOND_PER_JOB_FEE, PROTOCOL_FEE_BURNED_PERCENT, PROTOCOL_FEE_PERCENT};
use assay_protocol::params::Params;

use super::payoffs::{ENTRIES, Entry};
use super::sample::Sample;
use super::terms::{Deal, Draw, Terms, WORK_SHARE};

/// Shares of the drawn stake.
pub const SHARES: [f64; 3] = [0.1, 0.2, 0.33];
/// Markers around the tables.
pub const EXACT: &str = "exact";
pub const PLAYED: &str = "played";

/// The share of settled jobs that a fresh verifier looks at again.
fn recheck(params: &Params) -> f64 {
    f64::from(params.recheck_percent) / 100.0
}

/// Inputs and expected profits; the same at every run.
pub fn exact() -> String {
    let params = Params::MAIN;
    let terms = Terms::of(&Deal::CHAT, &params);
    let mut page = inputs(&params, &terms);
    page.push_str("\n| strategy | acts as | gains | loses | f = 0.1 | f = 0.2 | f = 0.33 |\n|---|---|---|---|---:|---:|---:|\n");
    for entry in &ENTRIES {
        let Entry { name, from, gains, losses, .. } = entry;
        let profits = SHARES.map(|share| profit(entry, &terms, share, recheck(&params)));
        let cells = profits.map(signed).join(" | ");
        let _ = writeln!(page, "| {name} | {} | {gains} | {losses} | {cells} |", from.role());
    }
    page.push_str(
        "\n| outside gain that a lie is worth, in F | f = 0.1 | f = 0.2 | f = 0.33 |\n|---|---:|---:|---:|\n",
    );
    for verifiers in [2, 4] {
        let terms = Terms::of(&Deal { verifiers, ..Deal::CHAT }, &params);
        let gains = SHARES.map(|share| {
            let won = Draw::Many(share).chance(terms.verifiers, terms.verifiers);
            format!("{:.0}", -profit(&ENTRIES[0], &terms, share, recheck(&params)) / won)
        });
        let _ = writeln!(page, "| {verifiers} verifiers | {} |", gains.join(" | "));
    }
    page
}

fn inputs(params: &Params, terms: &Terms) -> String {
    let Deal { n_in, n_out, p_in, p_out, p_verify, validators, .. } = Deal::CHAT;
    let rows = [
        ("prompt and answer", format!("{n_in} and {n_out} tokens")),
        ("prices of a token: prompt, answer, verified", format!("{p_in}, {p_out}, {p_verify} base units")),
        ("validators", validators.to_string()),
        ("A", format!("{:.4} F", terms.check)),
        ("B", format!("{:.2} F (factor {BOND_PER_JOB_FEE})", terms.bond)),
        ("protocol fee", format!("{PROTOCOL_FEE_PERCENT} % of F, {PROTOCOL_FEE_BURNED_PERCENT} burned")),
        ("step fee, smallest job fee", format!("{}, {} base units", params.step_fee, params.job_fee_min)),
        ("looked at again", format!("{:.0} % of settled jobs", 100.0 * recheck(params))),
        ("work that a fee pays for, at most", format!("{:.0} %", 100.0 * WORK_SHARE)),
    ];
    let mut table = String::from("| input | value |\n|---|---|\n");
    for (input, value) in rows {
        let _ = writeln!(table, "| {input} | {value} |");
    }
    table
}

/// Expected profit over honest play where the coalition holds this share in many accounts.
pub fn profit(entry: &Entry, terms: &Terms, share: f64, recheck: f64) -> f64 {
    let payoff = entry.expected(terms, Draw::Many(share), recheck);
    payoff.saved + payoff.ledger
}

/// The sampled part of one strategy's row.
pub fn played(name: &str, samples: &[Sample]) -> String {
    let cells = samples
        .iter()
        .map(|sample| format!("{} | {} | {}", signed(sample.expected), signed(sample.mean), sample.acts));
    let worst = samples.iter().map(|sample| sample.honest_loss).fold(0.0, f64::max);
    format!("| {name} | {} | {worst:.2} |", cells.collect::<Vec<_>>().join(" | "))
}

fn signed(profit: f64) -> String {
    if profit.abs() < 0.005 { "0".into() } else { format!("{profit:+.2}").replace('-', "−") }
}

/// The page with what stands between a table's markers replaced.
pub fn replace(page: &str, table: &str, with: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {table}: begin -->\n"), format!("<!-- {table}: end -->"));
    let from = page.find(&begin)? + begin.len();
    let to = from + page[from..].find(&end)?;
    Some(format!("{}{with}{}", &page[..from], &page[to..]))
}
