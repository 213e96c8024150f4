//! Signatures that were verified before, and verifying many at once ahead of execution.
//!
//! Nothing here decides: what is not remembered, execution verifies by itself, one by one. What is
//! remembered has passed the same verification, or one of a batch, which accepts the same signatures.
//!
//! A batch is one equation over all its members, each multiplied by a random number. Ristretto is a group of
//! prime order, both kinds of verification take the same encodings of keys, nonces and scalars, so a batch
//! holds exactly if every member does, but for a chance of 2⁻¹²⁸ that the random numbers hide a bad one. They
//! must come from the operating system: numbers that follow from keys, nonces and messages alone leave the
//! scalars to the signer, and two bad signatures could be chosen to cancel each other out.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rand::SeedableRng;
use rand::rngs::{OsRng, StdRng};
use schnorrkel::context::SigningContext;
use schnorrkel::{PublicKey, verify_batch_rng};
use sp_runtime::MultiSignature;
use sp_runtime::traits::{BlakeTwo256, Hash as _};

use crate::Hash;
use crate::signature::{Claim, Verifier};

/// Claims that are remembered before the older half is forgotten: the transactions of a full pool, twice.
const REMEMBERED_MAX: usize = 32_768;
/// Signatures of one batch; beyond this the gain of a larger one is small, and a bad one costs more.
const BATCH_MAX: usize = 256;
/// From how many claims on a second thread is worth its start, about 50 µs.
const SHARE_MIN: usize = 16;
/// The context in which sr25519 keys sign transactions (`sp_core::sr25519`).
const SIGNING_CONTEXT: &[u8] = b"substrate";

/// Claims that were found to hold. Bounded: when the younger half is full, the older is forgotten.
#[derive(Default)]
pub struct Verified {
    halves: Mutex<Halves>,
}

#[derive(Default)]
struct Halves {
    younger: HashSet<Hash>,
    older: HashSet<Hash>,
}

impl Verified {
    /// Verifies claims on `threads` threads and remembers those that hold. Execution then need not.
    pub fn verify_ahead(&self, claims: Vec<Claim>, threads: usize) {
        let unknown: Vec<Claim> = claims.into_iter().filter(|claim| !self.remembers(&name(claim))).collect();
        let threads = threads.min(unknown.len().div_ceil(SHARE_MIN)).max(1);
        let share = unknown.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let mut shares = unknown.chunks(share);
            let own = shares.next();
            for other in shares {
                scope.spawn(|| self.verify_share(other));
            }
            own.into_iter().for_each(|own| self.verify_share(own));
        });
    }

    fn verify_share(&self, claims: &[Claim]) {
        for batch in claims.chunks(BATCH_MAX) {
            let names: Vec<_> = batch
                .iter()
                .zip(hold(batch))
                .filter(|(_, holds)| *holds)
                .map(|(claim, _)| name(claim))
                .collect();
            self.remember(&names);
        }
    }

    fn remembers(&self, name: &Hash) -> bool {
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        halves.younger.contains(name) || halves.older.contains(name)
    }

    fn remember(&self, names: &[Hash]) {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            if halves.younger.len() >= REMEMBERED_MAX / 2 {
                halves.older = std::mem::take(&mut halves.younger);
            }
            halves.younger.insert(*name);
        }
    }
}

impl Verifier for Verified {
    fn verify(&self, claim: Claim) -> bool {
        let name = name(&claim);
        if self.remembers(&name) {
            return true;
        }
        let holds = claim.holds();
        if holds {
            self.remember(&[name]);
        }
        holds
    }
}

/// Notes what would be verified, and takes it for good. What is computed beside it must be thrown away.
#[derive(Default)]
pub struct Collector(Mutex<Vec<Claim>>);

impl Collector {
    /// What was noted.
    pub fn take(&self) -> Vec<Claim> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Verifier for Collector {
    fn verify(&self, claim: Claim) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
        true
    }
}

/// Names a claim as a whole: the kind of signature, its bytes, the account and the message.
fn name(claim: &Claim) -> Hash {
    let Claim { signature, signer, message } = claim;
    BlakeTwo256::hash_of(&(signature, signer, message))
}

/// Which of the claims hold: sr25519 in one batch, and one by one if that fails; all other kinds one by one.
fn hold(claims: &[Claim]) -> Vec<bool> {
    let members: Vec<Option<Member>> = claims.iter().map(Member::of).collect();
    let batch: Vec<&Member> = members.iter().flatten().collect();
    let all_good = batch.len() > 1 && hold_together(&batch);
    let one = |(claim, member): (&Claim, &Option<Member>)| (all_good && member.is_some()) || claim.holds();
    claims.iter().zip(&members).map(one).collect()
}

/// A claim by an sr25519 key in which key and signature are well formed.
struct Member<'a> {
    signature: schnorrkel::Signature,
    key: PublicKey,
    message: &'a [u8],
}

impl<'a> Member<'a> {
    fn of(claim: &'a Claim) -> Option<Self> {
        let MultiSignature::Sr25519(signature) = &claim.signature else { return None };
        Some(Self {
            signature: schnorrkel::Signature::from_bytes(signature.as_ref()).ok()?,
            key: PublicKey::from_bytes(claim.signer.as_ref()).ok()?,
            message: &claim.message,
        })
    }
}

fn hold_together(batch: &[&Member]) -> bool {
    // Without randomness there is no batch.
    let Ok(random) = StdRng::from_rng(OsRng) else { return false };
    let context = SigningContext::new(SIGNING_CONTEXT);
    let transcripts = batch.iter().map(|member| context.bytes(member.message));
    let signatures: Vec<_> = batch.iter().map(|member| member.signature).collect();
    let keys: Vec<_> = batch.iter().map(|member| member.key).collect();
    verify_batch_rng(transcripts, &signatures, &keys, false, random).is_ok()
}
