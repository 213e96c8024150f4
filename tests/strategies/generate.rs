//! Random markets: random coalitions of random strategies, and jobs at random times.

use crate::case::{Asked, Case, Only, Parcel, Party, Rule, To, What, When};
use crate::model::PROMPTS;
use crate::random::Random;
use crate::strategies::{LIES, of_providers, of_requesters};

/// Jobs of one market.
const JOBS: usize = 48;

/// The market of a seed.
pub fn case(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let mut parties = Vec::new();
    let rings = 1 + random.below(3);
    let bad = 10 + random.below(50) as u64;
    let mut scripts: Vec<Vec<Rule>> = (0..rings).map(|_| provider_script(&mut random)).collect();
    // As many markets in a row as there are known strategies play each of them.
    let known = of_providers();
    scripts[0] = known[(seed % known.len() as u64) as usize].script.clone();
    for _ in 0..8 + random.below(7) {
        parties.push(provider(&mut random, bad, &scripts));
    }
    if parties.iter().all(Party::is_honest) {
        parties[0] = Party { ring: Some(0), script: scripts[0].clone(), ..parties[0].clone() };
    }
    let buyers = 2 + random.below(4);
    for n in 0..buyers {
        parties.push(buyer(&mut random, n, rings));
    }
    let providers = parties.len() - buyers;
    let jobs = (0..JOBS).map(|_| asked(&mut random, providers, buyers)).collect();
    Case { seed, lying_validators: random.below(4) as u8, parties, jobs }
}

fn provider(random: &mut Random, bad: u64, scripts: &[Vec<Rule>]) -> Party {
    let stake = 100 * (1 + random.below(5) as u32);
    let verify_percent = *random.pick(&[30, 50, 100]);
    let honest = Party { stake, verify_percent, at_large: random.percent(25), ..Party::default() };
    if !random.percent(bad) {
        return honest;
    }
    let ring = random.below(scripts.len());
    Party { ring: Some(ring as u8), script: scripts[ring].clone(), ..honest }
}

/// The first buyer is honest; others may be, or belong to a ring.
fn buyer(random: &mut Random, number: usize, rings: usize) -> Party {
    if number == 0 || random.percent(30) {
        return Party::default();
    }
    let script = random.pick(&of_requesters()).script.clone();
    let ring = random.percent(70).then(|| random.below(rings) as u8);
    Party { ring, script, ..Party::default() }
}

fn asked(random: &mut Random, providers: usize, buyers: usize) -> Asked {
    Asked {
        at: random.below(40) as u32,
        by: providers + random.below(buyers),
        prompt: random.below(PROMPTS),
        verifiers: if random.percent(20) { 4 } else { 2 },
        at_large: random.percent(25),
        direct: random.percent(25).then(|| random.below(providers)),
        price: if random.percent(10) { 60 } else { 1 },
    }
}

/// A known strategy, two of them, or anything at all.
fn provider_script(random: &mut Random) -> Vec<Rule> {
    let known = of_providers();
    let mut script = match random.below(10) {
        0..6 => random.pick(&known).script.clone(),
        6..8 => [random.pick(&known).script.clone(), random.pick(&known).script.clone()].concat(),
        _ => Vec::new(),
    };
    if script.is_empty() || random.percent(20) {
        script.extend((0..1 + random.below(5)).map(|_| any_rule(random)));
    }
    script
}

fn any_rule(random: &mut Random) -> Rule {
    let when = *random.pick(&[
        When::Accepting,
        When::Executing,
        When::Delivering,
        When::Verifying,
        When::Waiting,
        When::Revealing,
        When::Disputed,
        When::Settled,
        When::Asked,
    ]);
    let percent = Only::Percent(20 + random.below(70) as u8);
    let only = *random.pick(&[
        Only::Always,
        Only::AllFriends,
        Only::SomeStranger,
        Only::FriendExecutes,
        Only::StrangerExecutes,
        Only::FriendAsks,
        percent,
    ]);
    Rule { when, only, what: any_act(random, when) }
}

/// Anything that a party could do in such a moment, sensible or not.
fn any_act(random: &mut Random, when: When) -> What {
    if when == When::Delivering {
        let parcel = *random.pick(&[Parcel::Nothing, Parcel::Other, Parcel::Replayed]);
        return What::Hand(parcel, *random.pick(&[To::Everyone, To::Strangers, To::Half]));
    }
    let lie = *random.pick(&LIES);
    *random.pick(&[
        What::Silent,
        What::Decline,
        What::AcceptBlind,
        What::Commit(lie),
        What::Agree,
        What::CopyCommitment,
        What::CopyOpened,
        What::BadRecheck,
        What::Need,
        What::Complain,
        What::Challenge,
        What::RevealEarly,
        What::RevealGarbage,
        What::Equivocate,
        What::Concede,
    ])
}
