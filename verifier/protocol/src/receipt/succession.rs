//! Who decides which heights: from validators that are trusted, block by block that handed over to others.

use assay_manifest::Digest32;
use codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::certificate::{CertificateError, ValidatorSet};
use crate::header::{HeaderError, HeaderView};
use crate::units::Height;

use super::file::Evidence;
use super::verify::Trust;

/// A block after which others decide, and who.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HandOver {
    /// The last block of those before.
    pub block: Evidence,
    /// Who decides the next height. The block's header has their hash.
    pub validators: ValidatorSet,
}

/// Something is not decided by those who it should be decided by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuccessionError {
    /// The bytes are no header, or lack an item.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The certificate does not hold.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// It is of another height than what it stands for.
    #[error("the header is of height {found}, not {expected}")]
    OtherHeight {
        /// Its own.
        found: Height,
        /// The one that it stands for.
        expected: Height,
    },
    /// Nothing says who decided it.
    #[error("height {0} is before the first that the trusted validators decide")]
    BeforeTrust(Height),
    /// The one before is not of an earlier height.
    #[error("the hand-over at height {0} is not after the one before it")]
    NotInOrder(Height),
    /// The header of the last block has the hash of others.
    #[error("the header at height {0} hands over to others")]
    OtherValidators(Height),
    /// What is proven ends before.
    #[error("nothing is decided by the validators of height {0}")]
    Unneeded(Height),
    /// Those before decide on.
    #[error("at height {0} nothing is handed over")]
    NoChange(Height),
}

/// Validators with the first height that each set of them decides.
pub struct Succession {
    genesis: Digest32,
    sets: Vec<(Height, ValidatorSet)>,
}

impl Succession {
    /// Follows `hand_overs` from the trusted validators on.
    ///
    /// Receipts hold all of a chain. Those before the trusted validators prove nothing to whoever trusts these; still
    /// they have to follow from one another and to lead to them, so that nothing can be put into a file unseen.
    ///
    /// # Errors
    /// [`SuccessionError`] of the first that does not hold.
    pub fn follow<'a>(
        trust: &Trust,
        hand_overs: impl IntoIterator<Item = &'a HandOver>,
    ) -> Result<Self, SuccessionError> {
        let mut succession =
            Self { genesis: trust.genesis, sets: vec![(trust.from, trust.validators.clone())] };
        let mut earlier = Self { genesis: trust.genesis, sets: Vec::new() };
        let mut hand_overs = hand_overs.into_iter().peekable();
        while let Some(hand_over) = hand_overs.next_if(|hand_over| trust.is_after(hand_over)) {
            earlier.extend_untrusted(hand_over)?;
        }
        if let Some((from, set)) = earlier.newest()
            && *set != trust.validators
        {
            return Err(SuccessionError::OtherValidators(Height::new(from.get().saturating_sub(1))));
        }
        hand_overs.try_for_each(|hand_over| succession.extend(hand_over))?;
        Ok(succession)
    }

    /// Goes over to others from validators of whom the first are not known.
    fn extend_untrusted(&mut self, hand_over: &HandOver) -> Result<(), SuccessionError> {
        if !self.sets.is_empty() {
            return self.extend(hand_over);
        }
        let HandOver { block, validators } = hand_over;
        let header = HeaderView::decode(&block.header)?;
        if block.certificate.height != header.height || block.certificate.value != header.hash {
            return Err(CertificateError::OtherBlock.into());
        }
        if validators.hash() != header.next_validators()? {
            return Err(SuccessionError::OtherValidators(header.height));
        }
        self.sets.push((Height::new(header.height.get().saturating_add(1)), validators.clone()));
        Ok(())
    }

    /// Goes over to other validators.
    ///
    /// # Errors
    /// [`SuccessionError`] when those before have not decided that.
    pub fn extend(&mut self, hand_over: &HandOver) -> Result<(), SuccessionError> {
        let HandOver { block, validators } = hand_over;
        let header = HeaderView::decode(&block.header)?;
        let (height, next) = (header.height, header.next_validators()?);
        let newest = self.sets.last().filter(|(from, _)| *from <= height);
        let (_, before) = newest.ok_or(SuccessionError::NotInOrder(height))?;
        block.certificate.verify(&self.genesis, before, (height, &header.hash))?;
        if validators.hash() != next {
            return Err(SuccessionError::OtherValidators(height));
        }
        if validators == before {
            return Err(SuccessionError::NoChange(height));
        }
        let from = Height::new(height.get().saturating_add(1));
        self.sets.push((from, validators.clone()));
        Ok(())
    }

    /// Who decides a height; none before the trusted validators did.
    pub fn at(&self, height: Height) -> Option<&ValidatorSet> {
        self.sets.iter().rev().find(|(from, _)| *from <= height).map(|(_, set)| set)
    }

    /// Checks that a header was decided; of `height`, if one is asked for.
    ///
    /// # Errors
    /// [`SuccessionError`] when its validators have not certified it.
    pub fn check(&self, block: &Evidence, height: Option<Height>) -> Result<HeaderView, SuccessionError> {
        let header = HeaderView::decode(&block.header)?;
        let (found, expected) = (header.height, height.unwrap_or(header.height));
        if found != expected {
            return Err(SuccessionError::OtherHeight { found, expected });
        }
        let set = self.at(found).ok_or(SuccessionError::BeforeTrust(found))?;
        block.certificate.verify(&self.genesis, set, (found, &header.hash))?;
        Ok(header)
    }

    /// The newest validators, and the first height that they decide.
    pub fn newest(&self) -> Option<&(Height, ValidatorSet)> {
        self.sets.last()
    }
}
