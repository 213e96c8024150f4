//! For tests of any part: a request's record; a job with an executor and two verifiers, and envelopes of it.

use assay_manifest::{Digest32, ModelId, SpecId};
use assay_protocol::fees;
use assay_protocol::job::{Job, Seat, SeatOutcome};
use assay_protocol::params::Params;
use assay_protocol::party::{AccountBytes, Role};
use assay_protocol::record::{Class, PROTOCOL_VERSION, Policy, Prices, PublicRecord};
use assay_protocol::seal::{Envelope, Purpose};
use assay_protocol::signature::Signature;
use assay_protocol::units::{Amount, Height, Price, Tokens};
use sp_core::{Pair, sr25519};

const PARAMS: Params = Params::DEVELOPMENT;
/// Who asks in [`job`].
pub const REQUESTER: u8 = 9;
pub const EXECUTOR: u8 = 1;
pub const VERIFIERS: [u8; 2] = [2, 3];

pub fn pair(party: u8) -> sr25519::Pair {
    sr25519::Pair::from_seed(&[party; 32])
}

/// Providers are named by a byte, with a work key of their own; the requester by the key of its account.
pub fn account(party: u8) -> AccountBytes {
    if party == REQUESTER { pair(REQUESTER).public().0 } else { [party; 32] }
}

fn seat(index: u8, role: Role, provider: u8) -> Seat {
    Seat {
        index,
        round: 1,
        role,
        provider: account(provider),
        work_key: pair(provider).public().0,
        encryption_key: Digest32::ZERO,
        price: Price::ZERO,
        deadline: Height::new(10),
        outcome: SeatOutcome::Pending,
        commitment: None,
        value: None,
        bond: Amount::ZERO,
        paid: Amount::ZERO,
    }
}

/// What a request says on the ledger: one token in, eight out, two verifiers. Tests change the rest.
pub fn record() -> PublicRecord {
    let price = Price::new(1_000_000_000_000_000);
    PublicRecord {
        version: PROTOCOL_VERSION,
        class: Class::Exact,
        model_id: ModelId::from_bytes([1; 32]),
        spec_id: SpecId::from_bytes([2; 32]),
        input_commit: Digest32::ZERO,
        n_in: Tokens::new(1),
        n_max: Tokens::new(8),
        policy: Policy::Verified { verifiers: 2 },
        prices: Prices { input: price, output: price, verify_max: price },
        valid_until: Height::new(100),
        max_eyes: 0,
        direct_executor: None,
        parent: None,
        verified_range: None,
    }
}

/// A job with an executor and two verifiers.
pub fn job() -> Job {
    let record = record();
    let quote = fees::quote(&record, &PARAMS, 1).unwrap();
    let genesis = Digest32::from_bytes([7; 32]);
    let mut job = Job::new(genesis, account(REQUESTER), 0, record, quote, (Height::new(1), &PARAMS)).unwrap();
    let seats =
        [(0, Role::Executor, EXECUTOR), (1, Role::Verifier, VERIFIERS[0]), (2, Role::Verifier, VERIFIERS[1])];
    for (index, role, provider) in seats {
        job.seats.try_push(seat(index, role, provider)).unwrap();
    }
    job
}

pub fn envelope(job: &Job, purpose: Purpose, [sender, recipient]: [u8; 2], seat: u8) -> Envelope {
    let unsigned = Envelope {
        job: job.id,
        purpose,
        sender: account(sender),
        recipient: account(recipient),
        seat,
        key: Digest32::ZERO,
        package: vec![0; 256],
        signature: Signature([0; 64]),
    };
    signed(job, unsigned, sender)
}

pub fn signed(job: &Job, mut envelope: Envelope, by: u8) -> Envelope {
    envelope.signature = Signature(pair(by).sign(envelope.digest(&job.genesis).as_bytes()).0);
    envelope
}
