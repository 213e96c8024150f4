//! What the validators do: verdicts, rulings, and the poke of what the ledger forgot.

use assay_manifest::Digest32;
use assay_node::worker::{Done, Errand, Step, is_overdue, referee_duty};
use assay_protocol::certificate::ValidatorSignature;
use assay_protocol::commitment::{FailCode, Opening, ValueKind};
use assay_protocol::job::{Job, verdict_digest};
use assay_protocol::signature::Signature;
use assay_runtime::RuntimeCall;
use ed25519_dalek::{Signer, SigningKey};
use pallet_assay_jobs::{Call, Ruling, ruling_digest};

use crate::bound::needs_blocks;
use crate::chain::PARAMS;
use crate::chain::liar_key;
use crate::random::bytes;
use crate::world::{World, call};

impl World {
    /// What the validators do about a job, and the poke of one that the ledger forgot.
    pub fn referees(&mut self, job: &Job) -> Vec<RuntimeCall> {
        let height = self.net.height();
        let mut calls = Vec::new();
        if is_overdue(job, height) {
            calls.push(call(Step::Poke { job: job.id }));
        }
        let Some(duty) = referee_duty(job) else { return calls };
        let needs_blocks = needs_blocks(&PARAMS, job, duty.task);
        let errand = Errand { job: job.clone(), duty, height, posted: None, needs_blocks, fits_agenda: true };
        match self.referee.perform(&errand) {
            Ok(Done::Step(step)) => calls.push(call(step)),
            Ok(Done::Handed | Done::Waiting) => {}
            Err(error) => self.note(|| format!("  the referee cannot judge: {error}")),
        }
        calls.extend((0..self.case.lying_validators).map(|n| false_verdict(job, n)));
        calls
    }

    /// The honest validators confirm the verdicts under a definition that was paused: they know it to be right.
    pub fn rulings(&mut self) -> Vec<RuntimeCall> {
        let (genesis, key) = (self.net.genesis(), &self.net.consensus_key);
        let ruling = Ruling::Confirm;
        let rule = |(spec, since)| {
            let message = ruling_digest(&genesis, &spec, since, ruling);
            let signatures = vec![sign(key, &message)].try_into().expect("one signature");
            RuntimeCall::Jobs(Call::rule { spec, ruling, signatures })
        };
        std::mem::take(&mut self.paused).into_iter().map(rule).collect()
    }
}

/// A verdict by a validator that lies: that the executor's claim is wrong at its beginning.
fn false_verdict(job: &Job, liar: u8) -> RuntimeCall {
    let blind = Digest32::from_bytes(bytes(u64::from(liar), "verdict", 0));
    let opening = Some(Opening { kind: ValueKind::Reject, position: 0, code: FailCode::None, blind });
    let signature = sign(&liar_key(liar), &verdict_digest(job, &opening));
    call(Step::Verdict { job: job.id, opening, signature })
}

fn sign(key: &SigningKey, message: &Digest32) -> ValidatorSignature {
    ValidatorSignature {
        validator: Digest32::from_bytes(key.verifying_key().to_bytes()),
        signature: Signature(key.sign(message.as_bytes()).to_bytes()),
    }
}
