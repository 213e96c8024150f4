//! Which envelopes of others are kept here. Pure.

use std::collections::BTreeSet;

use assay_protocol::job::{Job, Seat};
use assay_protocol::party::{AccountBytes, Role};
use assay_protocol::seal::{Envelope, Purpose};
use assay_protocol::signature::WorkKey;

use super::wants::Want;
use crate::network::ports::Slip;
use crate::network::wire::Refusal;

/// Envelopes of one job that others may leave here: each seat's for each other, and room beside them.
pub const PER_JOB_MAX: usize = 64;

/// For whom this node keeps envelopes of a job.
#[derive(Clone, Copy, Debug)]
pub struct House<'a> {
    /// Who is at home here: providers, and the validator by its key.
    pub hosted: &'a [AccountBytes],
    /// The validators, who judge what is contested.
    pub validators: &'a BTreeSet<AccountBytes>,
    /// What lies here of the job.
    pub held: &'a BTreeSet<Slip>,
    /// What this node has asked for, if the envelope came as an answer.
    pub asked_for: Option<Want>,
}

impl House<'_> {
    /// Whether the job's input was left at this node for others: its requester comes here for the answer.
    fn is_passed_by(&self, job: &Job) -> bool {
        let from_requester = |slip: &&Slip| slip.purpose == Purpose::Input && slip.sender == job.requester;
        self.held.iter().filter(from_requester).any(|slip| !self.hosted.contains(&slip.recipient))
    }
}

/// Whether an envelope is to be kept.
///
/// # Errors
/// [`Refusal`] saying why not. [`Refusal::Forged`] alone is a fault of whoever handed it over: about everything else a
/// node that is some blocks behind may be wrong.
pub fn admit(envelope: &Envelope, job: &Job, house: &House<'_>) -> Result<(), Refusal> {
    let keys = signers(envelope, job);
    if keys.is_empty() || !is_owed(envelope, job, house) {
        return Err(Refusal::NotAParty);
    }
    if !keys.iter().any(|key| envelope.check(&job.genesis, key).is_ok()) {
        return Err(Refusal::Forged);
    }
    let Envelope { job: id, purpose, recipient, .. } = *envelope;
    let is_at_home = house.hosted.contains(&recipient)
        || house.asked_for == Some(Want { job: id, purpose, recipient })
        || (envelope.purpose == Purpose::Answer && house.is_passed_by(job));
    if !is_at_home {
        return Err(Refusal::NotHere);
    }
    let is_new = !house.held.contains(&Slip::of(envelope));
    if is_new && house.held.len() >= PER_JOB_MAX { Err(Refusal::Full) } else { Ok(()) }
}

/// The keys of which one must have signed: the requester's for an input; for anything else the work keys of the
/// sender's seats, and for what the validators judge also the key of whoever contests it.
fn signers(envelope: &Envelope, job: &Job) -> Vec<WorkKey> {
    let seats = job.seats.iter().filter(|seat| seat.provider == envelope.sender).map(|seat| seat.work_key);
    match envelope.purpose {
        Purpose::Input if envelope.sender == job.requester => vec![envelope.sender],
        Purpose::Input => Vec::new(),
        Purpose::Work if job.is_contested() && job.contests(&envelope.sender) => {
            std::iter::once(envelope.sender).chain(seats).collect()
        }
        Purpose::Work | Purpose::Answer => seats.collect(),
    }
}

/// Whether somebody in the job is to get such an envelope, bound to this seat.
fn is_owed(envelope: &Envelope, job: &Job, house: &House<'_>) -> bool {
    let has_seat = |party: &AccountBytes, role: Option<Role>| {
        let is_its = |seat: &&Seat| seat.provider == *party && role.is_none_or(|role| seat.role == role);
        job.seats.iter().filter(is_its).any(|seat| seat.index == envelope.seat)
    };
    match envelope.purpose {
        Purpose::Input => has_seat(&envelope.recipient, Some(Role::Executor)),
        Purpose::Work if has_seat(&envelope.recipient, None) => true,
        // A validator has no seat: its envelopes are bound to the sender's, or to any if that has none either.
        Purpose::Work => {
            let names_a_seat = job.seats.iter().any(|seat| seat.index == envelope.seat);
            job.is_contested() && house.validators.contains(&envelope.recipient) && names_a_seat
        }
        Purpose::Answer => {
            envelope.recipient == job.requester && has_seat(&envelope.sender, Some(Role::Executor))
        }
    }
}

#[cfg(test)]
mod tests;
