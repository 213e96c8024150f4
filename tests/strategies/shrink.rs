//! From a market that breaks a rule to the smallest one that still does.

use std::sync::Arc;

use crate::case::{Case, Party};
use crate::model::Lab;
use crate::world::{Failure, Tracing, play};

/// Markets that are played at most while shrinking.
const TRIES_MAX: usize = 400;

/// The smallest case found that still fails, with its failure traced.
pub fn shrink(case: &Case, failure: &Failure, lab: &Arc<Lab>) -> (Case, Failure) {
    let property = failure.property();
    let fails_alike =
        |case: &Case| play(case, lab, Tracing::Off).is_err_and(|other| other.property() == property);
    let mut best = case.clone();
    let mut tries = 0;
    while let Some(smaller) = smaller(&best).into_iter().find(|smaller| {
        tries += 1;
        tries <= TRIES_MAX && fails_alike(smaller)
    }) {
        best = smaller;
    }
    let failure = play(&best, lab, Tracing::On).expect_err("a case that failed fails again");
    (best, failure)
}

/// Cases with something left out, the largest parts first.
fn smaller(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    for parts in [2, 4, 8, 16, case.jobs.len()] {
        let size = case.jobs.len().div_ceil(parts.max(1));
        all.extend((0..case.jobs.len()).step_by(size.max(1)).map(|from| without_jobs(case, from, size)));
    }
    all.extend((0..case.parties.len()).filter_map(|n| without_party(case, n)));
    all.extend((0..case.parties.len()).filter(|n| !case.parties[*n].is_honest()).map(|n| honest(case, n)));
    for (n, party) in case.parties.iter().enumerate() {
        all.extend((0..party.script.len()).map(|rule| without_rule(case, n, rule)));
    }
    if case.lying_validators > 0 {
        all.push(Case { lying_validators: 0, ..case.clone() });
    }
    all.extend(simpler_jobs(case));
    all.retain(|smaller| smaller != case);
    all
}

fn without_jobs(case: &Case, from: usize, count: usize) -> Case {
    let jobs = case.jobs.iter().enumerate().filter(|(n, _)| !(from..from + count).contains(n));
    Case { jobs: jobs.map(|(_, job)| job.clone()).collect(), ..case.clone() }
}

/// Without a party and the jobs that name it.
fn without_party(case: &Case, gone: usize) -> Option<Case> {
    if case.parties.len() < 2 {
        return None;
    }
    let mut smaller = case.clone();
    smaller.parties.remove(gone);
    smaller.jobs.retain(|job| job.by != gone && job.direct != Some(gone));
    for job in &mut smaller.jobs {
        job.by -= usize::from(job.by > gone);
        job.direct = job.direct.map(|n| n - usize::from(n > gone));
    }
    Some(smaller)
}

fn honest(case: &Case, n: usize) -> Case {
    let mut smaller = case.clone();
    let Party { stake, verify_percent, at_large, .. } = case.parties[n];
    smaller.parties[n] = Party { stake, verify_percent, at_large, ..Party::default() };
    smaller
}

fn without_rule(case: &Case, n: usize, rule: usize) -> Case {
    let mut smaller = case.clone();
    smaller.parties[n].script.remove(rule);
    if smaller.parties[n].script.is_empty() {
        smaller.parties[n].ring = None;
    }
    smaller
}

/// The same jobs, all at once, with the least of everything.
fn simpler_jobs(case: &Case) -> Vec<Case> {
    let changed = |change: fn(&mut crate::case::Asked)| {
        let mut simpler = case.clone();
        simpler.jobs.iter_mut().for_each(change);
        simpler
    };
    vec![
        changed(|job| job.at = 0),
        changed(|job| job.verifiers = 2),
        changed(|job| job.direct = None),
        changed(|job| job.price = 1),
        changed(|job| job.prompt = 0),
    ]
}
