//! Registrations with the longest names and licences, and edges.

use assay_manifest::lineage::{Edge, EdgeKind, Evidence};
use assay_manifest::{ArtifactId, Digest32};
use assay_runtime::RuntimeCall;
use pallet_assay_artifacts::{Call, Subject};

use crate::samples::Samples;
use crate::support::alice;
use crate::town::Town;

const NAME_BYTES: usize = 64;
const LICENSE_BYTES: usize = 256;

fn artifact(n: u8) -> ArtifactId {
    ArtifactId::from_bytes([n; 32])
}

fn edge(n: u8) -> Edge {
    Edge {
        child: artifact(n),
        kind: EdgeKind::FinetunedFrom,
        parent: artifact(255),
        evidence: Evidence::Asserted,
        recipe: Digest32::ZERO,
    }
}

/// Blocks of 8, 16 and 32 of each call.
pub fn measure(town: &mut Town, samples: &mut Samples) {
    for batch in [1..9u8, 10..26, 30..62] {
        let register = |n: u8| Call::register {
            subject: Subject::Dataset(artifact(n)),
            size_bytes: 1,
            name: format!("{n:0>NAME_BYTES$}").into_bytes().try_into().expect("the longest name"),
            license: vec![b'l'; LICENSE_BYTES].try_into().expect("the longest licence"),
        };
        take(town, samples, "register", batch.clone().map(register));
        take(town, samples, "state_edge", batch.clone().map(|n| Call::state_edge { edge: edge(n) }));
        let withdraw = |n: u8| Call::withdraw_edge { child: artifact(n), id: edge(n).id() };
        take(town, samples, "withdraw_edge", batch.clone().map(withdraw));
        take(town, samples, "unregister", batch.map(|n| Call::unregister { artifact: artifact(n) }));
    }
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
