//! When verdicts find many wrong under one definition, the definition is asked about first.

use assay_manifest::JobId;
use assay_protocol::job::{Phase, Verdict};
use pallet_assay_jobs::Ruling;

use crate::answers::*;
use crate::market::*;
use crate::pausing::{judge, pause};

fn paused() -> (Market, JobId, [u8; 32]) {
    let mut market = Market::of(9);
    let (id, liar) = pause(&mut market);
    (market, id, liar)
}

#[test]
fn the_third_provider_found_wrong_pauses_the_definition_and_loses_nothing_yet() {
    let (mut market, id, liar) = paused();
    assert_eq!(market.provider(liar).stake, STAKE);
    assert!(matches!(market.job(id).phase, Phase::Refereeing { .. }));
    assert!(market.refuses(&market.verdict(id, Some(right(1)))), "no verdict counts meanwhile");
    let asked = market.asking(two());
    assert!(error(&market.take(asked)).is_none(), "sales go on: it is not said that the definition is wrong");
    // The verdict's deadline is put off while the validators may rule.
    market.net.blocks(params().verdict_window);
    assert!(matches!(market.job(id).phase, Phase::Refereeing { .. }));
    assert_eq!(market.provider(liar).locked, B, "its bond is frozen");
}

#[test]
fn a_pause_that_nobody_rules_on_ends_its_disputes_in_time() {
    let (mut market, id, liar) = paused();
    market.net.blocks(2 * params().verdict_window + 2);
    assert!(market.find(id).is_none());
    assert_eq!(market.settlement(id).verdict, Verdict::Inconclusive);
    assert_eq!((market.provider(liar).stake, market.provider(liar).locked), (STAKE, 0));
}

#[test]
fn a_ruling_at_the_last_height_leaves_the_validators_a_window_to_judge() {
    let (mut market, id, liar) = paused();
    let since = market.height();
    let Phase::Refereeing { verdict_by } = market.job(id).phase else { panic!("a dispute") };
    while market.height() + 1 < verdict_by.get() {
        market.net.blocks(1);
    }
    let confirm = market.rule(Ruling::Confirm, since);
    market.take(confirm);
    market.net.blocks(params().verdict_window / 2);
    judge(&mut market, id);
    assert_eq!(market.provider(liar).stake, STAKE - B);
}

#[test]
fn a_confirmed_definition_convicts_as_before() {
    let (mut market, id, liar) = paused();
    let since = market.height();
    let other = market.rule(Ruling::Confirm, since + 1);
    assert!(market.refuses(&other), "another pause's ruling");
    let confirm = market.rule(Ruling::Confirm, since);
    market.take(confirm);
    judge(&mut market, id);
    assert_eq!(market.provider(liar).stake, STAKE - B);
    market.close(id);
    market.request(two());
}

#[test]
fn an_annulled_definition_convicts_nobody_and_serves_no_more() {
    let (mut market, id, liar) = paused();
    let annul = market.rule(Ruling::Annul, market.height());
    market.take(annul.clone());
    assert!(market.refuses(&annul), "ruled once");
    assert!(market.refuses(&market.verdict(id, Some(right(1)))));
    market.close(id);
    assert_eq!(market.settlement(id).verdict, Verdict::Inconclusive);
    assert_eq!((market.provider(liar).stake, market.provider(liar).locked), (STAKE, 0));
    let asked = market.asking(two());
    assert!(error(&market.take(asked)).is_some());
}
