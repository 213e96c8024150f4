//! Registrations with the longest names and licences, edges, statuses and priority commitments.

use assay_manifest::lineage::{Edge, EdgeKind, Evidence};
use assay_manifest::priority::{OPENING_DELAY_BLOCKS, commitment};
use assay_manifest::status::{Reason, Status, StatusKind, StatusSubject};
use assay_manifest::{ArtifactId, Digest32};
use assay_runtime::RuntimeCall;
use pallet_assay_artifacts::{Call, Subject};
use sp_core::Pair;

use crate::samples::Samples;
use crate::support::alice;
use crate::town::Town;

const NAME_BYTES: usize = 64;
const LICENSE_BYTES: usize = 256;
const ROUNDS: usize = 4;

/// Ids that are spread over the state as real ones are.
fn artifact(n: u16) -> ArtifactId {
    ArtifactId::from_digest(assay_manifest::sha256(&n.to_le_bytes()))
}

fn edge(n: u16) -> Edge {
    Edge {
        child: artifact(n),
        kind: EdgeKind::FinetunedFrom,
        parent: artifact(u16::MAX),
        evidence: Evidence::Asserted,
        recipe: Digest32::ZERO,
    }
}

fn register(n: u16) -> Call<assay_runtime::Runtime> {
    Call::register {
        subject: Subject::Dataset(artifact(n)),
        size_bytes: 1,
        name: format!("{n:0>NAME_BYTES$}").into_bytes().try_into().expect("the longest name"),
        license: vec![b'l'; LICENSE_BYTES].try_into().expect("the longest licence"),
    }
}

fn status(n: u16) -> Status {
    let subject = StatusSubject::Artifact(artifact(n));
    Status { subject, kind: StatusKind::Superseded { by: Digest32::ZERO }, reason: Reason::Mistake }
}

fn prior(n: u16) -> Digest32 {
    commitment(&artifact(n), &alice().public().0, &Digest32::ZERO)
}

/// Blocks of 8, 16 and 32 of each call, several times, for what a store does at a commit differs from one to the
/// next; 32 are all the commitments that an account may have.
pub fn measure(town: &mut Town, samples: &mut Samples) {
    let mut first = 0;
    for calls in [8, 16, 32].into_iter().cycle().take(3 * ROUNDS) {
        let batch = first..first + calls;
        first = batch.end;
        take(town, samples, "register", batch.clone().map(register));
        take(town, samples, "state_edge", batch.clone().map(|n| Call::state_edge { edge: edge(n) }));
        let withdraw = |n: u16| Call::withdraw_edge { child: artifact(n), id: edge(n).id() };
        take(town, samples, "withdraw_edge", batch.clone().map(withdraw));
        let state = |n: u16| Call::state_status { status: status(n) };
        take(town, samples, "state_status", batch.clone().map(state));
        take(town, samples, "unregister", batch.clone().map(|n| Call::unregister { artifact: artifact(n) }));
        measure_priors(town, samples, batch);
    }
}

/// A commitment is opened in the block of its registration, so that both are measured together.
fn measure_priors(town: &mut Town, samples: &mut Samples, batch: std::ops::Range<u16>) {
    let commit = |n: u16| Call::commit_prior { commitment: prior(n) };
    take(town, samples, "commit_prior", batch.clone().map(commit));
    let account = alice().public();
    let withdraw = |n: u16| Call::withdraw_prior { account: account.into(), commitment: prior(n) };
    take(town, samples, "withdraw_prior", batch.clone().map(withdraw));
    take(town, samples, "building", batch.clone().map(commit));
    for _ in 0..OPENING_DELAY_BLOCKS {
        town.pass("empty", 0, samples);
    }
    let open = |n: u16| Call::open_prior { artifact: artifact(n), salt: Digest32::ZERO };
    let calls = batch.clone().flat_map(|n| [register(n), open(n)]).map(RuntimeCall::Artifacts).collect();
    let us = town.block(town.signed(&alice(), calls));
    samples.add("register_and_open", batch.len(), us);
    take(town, samples, "building", batch.map(|n| Call::unregister { artifact: artifact(n) }));
}

fn take(
    town: &mut Town,
    samples: &mut Samples,
    name: &'static str,
    calls: impl Iterator<Item = Call<assay_runtime::Runtime>>,
) {
    let signed = town.signed(&alice(), calls.map(RuntimeCall::Artifacts).collect());
    town.take(name, signed, samples);
}
