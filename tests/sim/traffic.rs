//! What people send: transfers, one after the other, at whatever node answers.

use assay_node::ledger::LedgerHandle;
use assay_runtime::{
    AccountId, Address, RuntimeCall, SignedPayload, UNIT, UncheckedExtrinsic, signed_extension,
    signed_implicit,
};
use codec::Encode;
use rand::Rng;
use rand::rngs::StdRng;
use sp_core::{Pair, ed25519, sr25519};
use sp_runtime::MultiSignature;
use tokio::runtime::Runtime as Tokio;

use crate::genesis::{PAYERS, payer};

/// From one transaction to the next, in milliseconds.
pub const PACE_MS: std::ops::Range<u64> = 100..900;

/// A transfer of a few units, as the ledger of one node counts the sender's transactions.
pub fn transfer(seed: u64, dice: &mut StdRng, ledger: &LedgerHandle, tokio: &Tokio) -> Option<Vec<u8>> {
    let from = dice.gen_range(0..PAYERS);
    let to = (from + dice.gen_range(1..PAYERS)) % PAYERS;
    let dest = Address::Id(payer(seed, to).public().0.into());
    let value = u128::from(dice.gen_range(1..1_000u32)) * UNIT / 1_000;
    let call = pallet_balances::Call::transfer_keep_alive { dest, value };
    signed(&Signer::Ed25519(payer(seed, from)), RuntimeCall::Balances(call), ledger, tokio)
}

/// Who signs a transaction. Signatures of ed25519 are the same in every run, those of sr25519 are not.
#[expect(clippy::large_enum_variant, reason = "one a transaction, made and taken apart at once")]
pub enum Signer {
    Ed25519(ed25519::Pair),
    Sr25519(sr25519::Pair),
}

/// A call that an account signs as its next transaction.
pub fn signed(who: &Signer, call: RuntimeCall, ledger: &LedgerHandle, tokio: &Tokio) -> Option<Vec<u8>> {
    let account = AccountId::from(match who {
        Signer::Ed25519(pair) => pair.public().0,
        Signer::Sr25519(pair) => pair.public().0,
    });
    let nonce = tokio.block_on(ledger.query::<u32>(None, "AccountNonceApi_account_nonce", account.clone()));
    let payload =
        SignedPayload::from_raw(call, signed_extension(nonce.ok()?, 0), signed_implicit(ledger.genesis()));
    let signature = payload.using_encoded(|bytes| match who {
        Signer::Ed25519(pair) => MultiSignature::from(pair.sign(bytes)),
        Signer::Sr25519(pair) => MultiSignature::from(pair.sign(bytes)),
    });
    let (call, extension, _) = payload.deconstruct();
    Some(UncheckedExtrinsic::new_signed(call, Address::Id(account), signature.into(), extension).encode())
}
