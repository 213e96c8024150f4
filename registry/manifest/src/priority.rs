//! Priority: showing that an account knew an artifact before anybody could see it.
//!
//! An account commits to the artifact's id under a salt of its own, and opens the commitment when it
//! registers the artifact. Whoever sees the registration and copies it has no commitment that is old enough.

use crate::hash::{Digest32, TaggedHash};
use crate::ids::ArtifactId;

/// Blocks from a commitment to its opening: more than a registration waits before everybody has seen it.
pub const OPENING_DELAY_BLOCKS: u32 = 10;

/// Blocks for which a commitment can be opened: ninety days of one-second blocks, as long as releases are
/// held back.
pub const COMMITMENT_LIFETIME_BLOCKS: u32 = 90 * 86_400;

/// Commitments that one account may have at a time: a block reads all of them at once.
pub const COMMITMENTS_MAX: u32 = 32;

/// `H("assay/prior/1" ‖ artifact_id ‖ account ‖ salt)`. It cannot be copied: the account is in it.
pub fn commitment(artifact: &ArtifactId, account: &[u8; 32], salt: &Digest32) -> Digest32 {
    TaggedHash::new("assay/prior/1").digest(&artifact.digest()).fixed(account).digest(salt).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_changes_the_commitment() {
        let (artifact, salt) = (ArtifactId::from_bytes([1; 32]), Digest32::from_bytes([3; 32]));
        let base = commitment(&artifact, &[2; 32], &salt);
        assert_ne!(base, commitment(&ArtifactId::ZERO, &[2; 32], &salt));
        assert_ne!(base, commitment(&artifact, &[0; 32], &salt));
        assert_ne!(base, commitment(&artifact, &[2; 32], &Digest32::ZERO));
    }
}
