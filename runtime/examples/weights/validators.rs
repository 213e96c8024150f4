//! Stake of validators, the proofs that convict them, and the choice among them.

use std::ops::Range;

use assay_manifest::Digest32;
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::seal::SealingSecret;
use assay_protocol::signature::Signature;
use assay_protocol::units::Height;
use assay_protocol::vote::{Equivocation, Vote, VoteKind, key_claim};
use assay_runtime::{RuntimeCall, UNIT, UncheckedExtrinsic, general};
use ed25519_dalek::{Signer, SigningKey};
use pallet_assay_validators::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, Announced, Call, VALIDATORS_MAX, ValidatorKeys,
};
use sp_core::Pair;

use crate::jobs::authorize;
use crate::samples::Samples;
use crate::support::provider;
use crate::town::{SESSION, Town, VALIDATOR_UNBONDING};

/// Who is chosen beside the authority: as many as there may be.
const CHOSEN: Range<u8> = 100..100 + (VALIDATORS_MAX as u8 - 1);
/// Who bonds and leaves again.
const NEWCOMERS: [Range<u8>; 6] = [0..8, 8..24, 24..56, 56..64, 64..80, 200..232];

/// As many validators as there may be, which every block reads; then one bond after another, all unbonded before any of
/// them can be chosen; then convictions, each of which takes one out of the full set.
pub fn measure(town: &mut Town, samples: &mut Samples) {
    fill(town, samples);
    let mut bonded = 1 + CHOSEN.len();
    for batch in NEWCOMERS {
        start_of_session(town, samples, bonded);
        let among_many = ["bond", "bond_more", "announce", "unbond"];
        among_many.into_iter().for_each(|name| town.pass(name, 0, samples));
        take(town, samples, "bond", batch.clone().map(|n| (n, bond(town, n))).collect());
        take(town, samples, "bond_more", batch.clone().map(|n| (n, bond(town, n))).collect());
        let announce = |n| (n, RuntimeCall::Validators(Call::announce { addresses: longest() }));
        take(town, samples, "announce", batch.clone().map(announce).collect());
        let unbond = |amount| move |n| (n, RuntimeCall::Validators(Call::unbond { amount }));
        take(town, samples, "unbond", batch.clone().map(unbond(UNIT)).collect());
        take(town, samples, "unbond", batch.clone().map(unbond(UNIT)).collect());
        bonded += batch.len();
    }
    for count in [8, 16, 32, 8, 16] {
        let convictions: Vec<_> = chosen(town).into_iter().take(count).map(|n| conviction(town, n)).collect();
        authorize(town, samples, "authorize_convict", &convictions[0]);
        town.pass("convict", 0, samples);
        town.take("convict", convictions, samples);
    }
    for _ in 0..VALIDATOR_UNBONDING {
        town.pass("building", 0, samples);
    }
    for batch in NEWCOMERS {
        town.pass("withdraw_bond", 0, samples);
        let withdraw = |n| (n, RuntimeCall::Validators(Call::withdraw {}));
        take(town, samples, "withdraw_bond", batch.map(withdraw).collect());
    }
}

/// As many addresses as there may be, of the greatest length.
fn longest() -> Announced {
    let address = || vec![0xa5; ADDRESS_BYTES_MAX as usize].try_into().expect("no longer than it may be");
    (0..ADDRESSES_MAX).map(|_| address()).collect::<Vec<_>>().try_into().expect("no more than there may be")
}

/// Bonds for all places among the validators, and blocks until they decide.
fn fill(town: &mut Town, samples: &mut Samples) {
    for some in CHOSEN.collect::<Vec<_>>().chunks(33) {
        take(town, samples, "building", some.iter().map(|n| (*n, bond(town, *n))).collect());
    }
    while chosen(town).len() < CHOSEN.len() {
        town.pass("building", 0, samples);
    }
    for _ in 0..SESSION / 2 {
        town.pass("crowded", 0, samples);
    }
}

/// Those of them who decide the next height.
fn chosen(town: &Town) -> Vec<u8> {
    let set: ValidatorSet = town.market.net.call("LedgerApi_validators", ());
    let decides = |n: &u8| set.validators().iter().any(|validator| validator.key == public(*n));
    CHOSEN.filter(decides).collect()
}

/// Empty blocks up to the first of a session; in the last of the one before, validators are chosen among so many.
fn start_of_session(town: &mut Town, samples: &mut Samples, bonded: usize) {
    loop {
        let us = town.block(vec![]);
        let chooses = (town.market.height() + 1).is_multiple_of(SESSION);
        samples.add("choose", if chooses { bonded } else { 0 }, us);
        if chooses {
            return;
        }
    }
}

/// Of a newcomer's keys; none of them is the authority's.
fn seed(n: u8) -> [u8; 32] {
    let mut seed = [n; 32];
    seed[0] = 1;
    seed
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&seed(n))
}

fn public(n: u8) -> Digest32 {
    Digest32::from_bytes(key(n).verifying_key().to_bytes())
}

fn bond(town: &Town, n: u8) -> RuntimeCall {
    let encryption_key = SealingSecret::from_bytes(seed(n)).public();
    let keys = ValidatorKeys { key: public(n), vrf_key: public(n), encryption_key };
    let claim = key_claim(&town.market.net.genesis_digest(), &provider(n).public().0);
    let proof = Signature(key(n).sign(claim.as_bytes()).to_bytes());
    RuntimeCall::Validators(Call::bond { amount: UNIT, keys, proof })
}

fn conviction(town: &Town, n: u8) -> UncheckedExtrinsic {
    let (kind, height, round) = (VoteKind::Prevote, Height::new(town.market.height()), 0);
    let votes = [None, Some(Digest32::ZERO)].map(|value| {
        let message = Vote { kind, height, round, value }.sign_bytes(&town.market.net.genesis_digest());
        (value, Signature(key(n).sign(message.as_bytes()).to_bytes()))
    });
    let proof = Equivocation { validator: public(n), kind, height, round, votes };
    general(RuntimeCall::Validators(Call::convict { proof }))
}

fn take(town: &mut Town, samples: &mut Samples, name: &'static str, calls: Vec<(u8, RuntimeCall)>) {
    let signed = calls.into_iter().flat_map(|(n, call)| town.signed(&provider(n), vec![call])).collect();
    town.take(name, signed, samples);
}
