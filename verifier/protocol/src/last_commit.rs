//! The commit of a block as the next block carries it.
//!
//! Every node has a certificate of its own for a block, made of the votes that it happened to see first, so that nothing
//! may follow from it that all have to agree on. What the next block carries is the same for everybody who has that block.

use assay_manifest::Digest32;

use crate::certificate::{CertificateError, CommitCertificate, ValidatorSet, verify_ed25519};
use crate::signature::Signature;
use crate::units::Height;

/// The signatures under a block: at each of its validators' places that validator's, or none.
///
/// Nothing else is carried. Hash and height are those of the block before, the places are in the validators' order, so
/// that nobody can be there twice, nor anybody who is no validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastCommit {
    /// The round in which the signatures were made.
    pub round: u32,
    /// A place for each validator of the block's height, in their order.
    pub signatures: Vec<Option<Signature>>,
}

impl LastCommit {
    /// What a certificate holds. Of a validator that is in it twice the first signature counts; whoever is not of the
    /// set has no place.
    pub fn of(certificate: &CommitCertificate, set: &ValidatorSet) -> Self {
        let signed_by = |key: Digest32| {
            let signed = certificate.signatures.iter().find(|signed| signed.validator == key);
            signed.map(|signed| signed.signature)
        };
        let signatures = set.validators().iter().map(|validator| signed_by(validator.key)).collect();
        Self { round: certificate.round, signatures }
    }

    /// Checks that the validators of `set` committed to the block of this height and hash.
    ///
    /// # Errors
    /// [`CertificateError`] naming what does not hold: as many places as validators, more than two thirds of their
    /// power, and every signature right.
    pub fn check(
        &self,
        genesis: &Digest32,
        set: &ValidatorSet,
        (height, value): (Height, &Digest32),
    ) -> Result<(), CertificateError> {
        let (places, validators) = (self.signatures.len(), set.validators().len());
        if places != validators {
            return Err(CertificateError::OtherPlaces { places, validators });
        }
        let placed = || set.validators().iter().zip(&self.signatures);
        let signed = || placed().filter_map(|(validator, signature)| Some((validator.key, (*signature)?)));
        // What costs least comes first.
        set.decide(&signed().map(|(key, _)| key).collect::<Vec<_>>())?;
        let message = CommitCertificate::sign_bytes(genesis, height, self.round, value);
        match signed().find(|(key, signature)| !verify_ed25519(key, &message, signature)) {
            Some((key, _)) => Err(CertificateError::BadSignature(key)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;
    use crate::certificate::{Validator, ValidatorSignature};

    const GENESIS: Digest32 = Digest32::ZERO;
    const ROUND: u32 = 2;

    /// What is signed: chain, height, round and hash.
    #[derive(Clone, Copy)]
    struct Block(Digest32, Height, u32, Digest32);

    fn block() -> Block {
        Block(GENESIS, Height::new(7), ROUND, Digest32::from_bytes([5; 32]))
    }

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn public(n: u8) -> Digest32 {
        Digest32::from_bytes(key(n).verifying_key().to_bytes())
    }

    /// The numbers of four validators, in the order of their places.
    fn order() -> Vec<u8> {
        let mut order: Vec<u8> = (1..=4).collect();
        order.sort_by_key(|n| public(*n));
        order
    }

    fn set() -> ValidatorSet {
        ValidatorSet::new((1..=4).map(|n| Validator { key: public(n), power: 1 }).collect())
    }

    fn sign(n: u8, Block(genesis, height, round, value): Block) -> Signature {
        let message = CommitCertificate::sign_bytes(&genesis, height, round, &value);
        Signature(key(n).sign(message.as_bytes()).to_bytes())
    }

    /// With the first so many places filled by whoever they belong to.
    fn commit(count: usize, of: Block) -> LastCommit {
        let placed = order().into_iter().enumerate();
        let signatures = placed.map(|(place, n)| (place < count).then(|| sign(n, of))).collect();
        LastCommit { round: ROUND, signatures }
    }

    fn check(commit: &LastCommit) -> Result<(), CertificateError> {
        let Block(genesis, height, _, value) = block();
        commit.check(&genesis, &set(), (height, &value))
    }

    #[test]
    fn more_than_two_thirds_are_needed() {
        assert_eq!(check(&commit(4, block())), Ok(()));
        assert_eq!(check(&commit(3, block())), Ok(()));
        assert_eq!(check(&commit(2, block())), Err(CertificateError::TooFewVotes { power: 2, total: 4 }));
        assert!(check(&commit(0, block())).is_err());
    }

    #[test]
    fn signatures_of_another_chain_height_round_or_block_are_refused() {
        let Block(genesis, height, round, value) = block();
        let other = Digest32::from_bytes([6; 32]);
        for of in [
            Block(other, height, round, value),
            Block(genesis, Height::new(6), round, value),
            Block(genesis, height, round + 1, value),
            Block(genesis, height, round, other),
        ] {
            assert_eq!(check(&commit(4, of)), Err(CertificateError::BadSignature(public(order()[0]))));
        }
        let renamed = LastCommit { round: ROUND + 1, ..commit(4, block()) };
        assert!(check(&renamed).is_err(), "the round is what they signed");
    }

    #[test]
    fn signatures_in_anothers_place_are_refused() {
        let whole = commit(4, block());
        let mut unsorted = whole.clone();
        unsorted.signatures.swap(0, 3);
        assert_eq!(check(&unsorted), Err(CertificateError::BadSignature(public(order()[0]))));
        let mut twice = whole.clone();
        twice.signatures[3] = twice.signatures[0];
        assert_eq!(check(&twice), Err(CertificateError::BadSignature(public(order()[3]))));
        let mut stranger = whole.clone();
        stranger.signatures[2] = Some(sign(9, block()));
        assert_eq!(check(&stranger), Err(CertificateError::BadSignature(public(order()[2]))));
        let mut forged = whole;
        forged.signatures[1] = Some(Signature([7; 64]));
        assert_eq!(check(&forged), Err(CertificateError::BadSignature(public(order()[1]))));
    }

    #[test]
    fn there_are_as_many_places_as_validators() {
        let mut long = commit(4, block());
        long.signatures.push(Some(sign(9, block())));
        assert_eq!(check(&long), Err(CertificateError::OtherPlaces { places: 5, validators: 4 }));
        let mut short = commit(4, block());
        short.signatures.pop();
        assert_eq!(check(&short), Err(CertificateError::OtherPlaces { places: 3, validators: 4 }));
    }

    #[test]
    fn a_certificate_in_any_order_becomes_the_same_commit() {
        let Block(_, height, round, value) = block();
        let signed = |n: u8| ValidatorSignature { validator: public(n), signature: sign(n, block()) };
        let certificate = |numbers: &[u8]| CommitCertificate {
            height,
            round,
            value,
            signatures: numbers.iter().map(|n| signed(*n)).collect(),
        };
        let expected = LastCommit::of(&certificate(&[1, 2, 4]), &set());
        assert_eq!(check(&expected), Ok(()));
        assert_eq!(expected.signatures.iter().flatten().count(), 3);
        for numbers in [&[4, 2, 1][..], &[2, 4, 1], &[2, 9, 4, 1, 2]] {
            assert_eq!(LastCommit::of(&certificate(numbers), &set()), expected);
        }
    }
}
