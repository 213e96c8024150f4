//! Stake, offers and keys, among lists of providers that are full.

use std::ops::Range;

use assay_protocol::seal::SealingSecret;
use assay_protocol::signature::{Signature, rotation_digest};
use assay_runtime::{RuntimeCall, UncheckedExtrinsic, general};
use pallet_assay_providers::Call;
use sp_core::Pair;

use crate::jobs::authorize;
use crate::market::{P_VERIFY, STAKE, account, offer, sealing_secret, work_key, work_public};
use crate::samples::Samples;
use crate::support::provider;
use crate::town::{PROVIDERS, Town, UNBONDING, full_offer, lonely_offer, stake_call};

/// Who stakes, of whom a block puts the offers of all in force.
const NEWCOMERS: [Range<u8>; 6] = [0..4, 4..12, 12..24, 24..28, 28..36, 36..48];

/// How often one joins and leaves: an account may have eight portions of stake on their way out.
const LEAVES: usize = 7;

/// One more provider after another: it fills every list, and leaves every list.
pub fn measure(town: &mut Town, samples: &mut Samples) {
    for batch in NEWCOMERS {
        let each = |call: fn(u8) -> RuntimeCall| batch.clone().map(move |n| (n, call(n)));
        take(town, samples, "stake", each(stake_call));
        let rotations: Vec<_> = batch.clone().map(|n| rotation(town, n)).collect();
        authorize(town, samples, "authorize_rotate", &rotations[0]);
        town.take("rotate", rotations, samples);
        take(town, samples, "set_keys", each(set_keys));
        take(town, samples, "set_offer_1", each(|_| set_offer(offer(P_VERIFY))));
        take(town, samples, "set_offer_16", each(|_| set_offer(full_offer())));
        town.pass("put_in_force_1", batch.len(), samples);
        town.pass("put_in_force_16", batch.len(), samples);
        // The most that an offer can change: sixteen lists of its own end, and sixteen others begin.
        for time in 0..2 {
            let lonely = batch.clone().map(|n| (n, set_offer(lonely_offer(n, time))));
            take(town, samples, "building", lonely);
            town.pass("building", 0, samples);
            let name = if time == 0 { "building" } else { "put_in_force_lonely" };
            town.pass(name, batch.len(), samples);
        }
        take(town, samples, "unstake", each(|_| RuntimeCall::Providers(Call::unstake { amount: STAKE / 4 })));
    }
    // A whole provider leaves sixteen full lists: while it is one, it fills each of them.
    let joining = PROVIDERS;
    for _ in 0..LEAVES {
        take(town, samples, "building", [(joining, stake_call(joining))].into_iter());
        take(town, samples, "building", [(joining, set_offer(full_offer()))].into_iter());
        town.pass("building", 0, samples);
        town.pass("building", 0, samples);
        let all = RuntimeCall::Providers(Call::unstake { amount: STAKE });
        take(town, samples, "unstake_all", [(joining, all)].into_iter());
        town.pass("leave_16", 1, samples);
    }
    for _ in 0..UNBONDING {
        town.pass("building", 0, samples);
    }
    let withdraw = |n| (n, RuntimeCall::Providers(Call::withdraw {}));
    take(town, samples, "building", [withdraw(joining)].into_iter());
    for batch in NEWCOMERS {
        take(town, samples, "withdraw", batch.map(withdraw));
    }
}

fn set_keys(n: u8) -> RuntimeCall {
    RuntimeCall::Providers(Call::set_keys {
        work_key: work_public(n),
        encryption_key: sealing_secret(n).public(),
    })
}

fn rotation(town: &Town, n: u8) -> UncheckedExtrinsic {
    let (former, next) = (sealing_secret(n).public(), SealingSecret::from_bytes([n ^ 0x80; 32]).public());
    let message = rotation_digest(&town.market.net.genesis_digest(), &account(n), &former, &next);
    let signature = Signature(work_key(n).sign(message.as_bytes()).0);
    let provider = provider(n).public().into();
    general(RuntimeCall::Providers(Call::rotate_encryption_key { provider, encryption_key: next, signature }))
}

fn set_offer(offer: pallet_assay_providers::Offer) -> RuntimeCall {
    RuntimeCall::Providers(Call::set_offer { offer })
}

fn take(
    town: &mut Town,
    samples: &mut Samples,
    name: &'static str,
    calls: impl Iterator<Item = (u8, RuntimeCall)>,
) {
    let signed: Vec<UncheckedExtrinsic> =
        calls.flat_map(|(n, call)| town.signed(&provider(n), vec![call])).collect();
    town.take(name, signed, samples);
}
