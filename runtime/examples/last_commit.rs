//! What it costs to check the commit that a block carries of the one before it.
//!
//! `cargo run -p assay-runtime --example last_commit`

use std::error::Error;
use std::time::Instant;

use assay_manifest::Digest32;
use assay_protocol::certificate::{CommitCertificate, Validator, ValidatorSet, ValidatorSignature};
use assay_protocol::last_commit::LastCommit;
use assay_protocol::signature::Signature;
use assay_protocol::units::Height;
use ed25519_dalek::{Signer, SigningKey};

/// Checks of each commit; the median counts.
const CHECKS: usize = 101;

fn main() -> Result<(), Box<dyn Error>> {
    println!("validators, signatures, microseconds of the median check");
    for validators in [1u8, 4, 100] {
        for signatures in [validators * 2 / 3 + 1, validators] {
            println!("{validators}, {signatures}, {:.0}", median_us(validators, signatures.into())?);
        }
    }
    Ok(())
}

fn median_us(validators: u8, signatures: usize) -> Result<f64, Box<dyn Error>> {
    let keys: Vec<_> = (1..=validators).map(|n| SigningKey::from_bytes(&[n; 32])).collect();
    let public = |key: &SigningKey| Digest32::from_bytes(key.verifying_key().to_bytes());
    let set = ValidatorSet::new(keys.iter().map(|key| Validator { key: public(key), power: 1 }).collect());
    let (height, value) = (Height::new(7), Digest32::from_bytes([5; 32]));
    let message = CommitCertificate::sign_bytes(&Digest32::ZERO, height, 0, &value);
    let signed = |key: &SigningKey| ValidatorSignature {
        validator: public(key),
        signature: Signature(key.sign(message.as_bytes()).to_bytes()),
    };
    let signatures = keys.iter().take(signatures).map(signed).collect();
    let commit = LastCommit::of(&CommitCertificate { height, round: 0, value, signatures }, &set);
    let mut times_us = Vec::new();
    for _ in 0..CHECKS {
        let start = Instant::now();
        commit.check(&Digest32::ZERO, &set, (height, &value))?;
        times_us.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times_us.sort_by(f64::total_cmp);
    Ok(times_us[CHECKS / 2])
}
