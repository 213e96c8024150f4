//! Faults of peers, and why a fetch failed.

use std::fmt;

use assay_manifest::{ArtifactId, Digest32};
use assay_store::StoreError;

/// What a peer did that no sound and well-meaning one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It sent what is no message of the protocol.
    Malformed,
    /// Bytes that are not of the blob that was asked for.
    CorruptRange {
        /// The blob.
        blob: Digest32,
        /// Where in the blob, in bytes.
        at: u64,
    },
    /// A manifest that is not of the artifact that was asked for.
    WrongManifest(ArtifactId),
    /// It answered more slowly than any peer is waited for.
    Stalled,
}

/// A stream to a holder could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("opening a stream: {0}")]
pub struct OpenError(pub String);

/// What a fetch that failed still lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Bytes that did not come.
    pub bytes: u64,
    /// Of how many blobs.
    pub blobs: usize,
    /// One of them.
    pub first: Digest32,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, blobs, first } = self;
        write!(f, "{bytes} bytes of {blobs} of its files, among them blob {first}")
    }
}

/// An artifact could not be fetched. What was verified of it is kept for the next try.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// This node talks to no others.
    #[error("fetching {0}: this node has no network")]
    NoNetwork(ArtifactId),
    /// Nobody is known to hold it.
    #[error("fetching {0}: no peer is known to hold it")]
    NoHolders(ArtifactId),
    /// Holders are known, and none gave its manifest.
    #[error(
        "fetching {artifact}: none of its {holders} known holders gave its manifest; the last one: {cause}"
    )]
    NoManifest {
        /// The artifact.
        artifact: ArtifactId,
        /// How many were asked.
        holders: usize,
        /// What the last one did.
        cause: String,
    },
    /// It is larger than is allowed.
    #[error("fetching {artifact}: it has {size_bytes} bytes, and {limit_bytes} are allowed")]
    TooLarge {
        /// The artifact.
        artifact: ArtifactId,
        /// Its size.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// Its manifest has two lengths for one blob.
    #[error("fetching {artifact}: its manifest states two lengths for blob {blob}")]
    TwoLengths {
        /// The artifact.
        artifact: ArtifactId,
        /// The blob.
        blob: Digest32,
    },
    /// Its holders are gone, or were given up.
    #[error("fetching {artifact}: its holders are gone, or were given up; missing are {missing}")]
    HoldersGone {
        /// The artifact.
        artifact: ArtifactId,
        /// What did not come.
        missing: Missing,
    },
    /// Its holders bring too little.
    #[error("fetching {artifact}: its holders bring next to nothing; missing are {missing}")]
    TooSlow {
        /// The artifact.
        artifact: ArtifactId,
        /// What did not come.
        missing: Missing,
    },
    /// What came does not make the artifact, or could not be kept.
    #[error("fetching {artifact}: {source}")]
    Store {
        /// The artifact.
        artifact: ArtifactId,
        /// What went wrong.
        source: StoreError,
    },
    /// A thread of this node failed.
    #[error("fetching {0}: a thread panicked")]
    Panicked(ArtifactId),
}
