//! What can go wrong in the store.

use assay_manifest::canonical::CanonicalError;
use assay_manifest::formats::gguf::GgufError;
use assay_manifest::formats::safetensors::SafetensorsError;
use assay_manifest::manifest::ManifestError;
use assay_manifest::path::PathError;
use assay_manifest::{ArtifactId, ArtifactName, Digest32};
use std::io;
use std::path::{Path, PathBuf};

/// A failed operation of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process, or another part of this one, has the store open.
    #[error("opening the store {0}: it is open elsewhere")]
    Locked(PathBuf),
    /// The file system failed.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The index failed; opening the store again repairs it.
    #[error("using the index: {0}")]
    Index(#[from] sled::Error),
    /// A symbolic link, which could point outside of what is imported.
    #[error("importing {0}: symbolic links are not followed, give the file that it points to")]
    Symlink(PathBuf),
    /// A device, pipe or socket.
    #[error("importing {0}: neither a file nor a directory")]
    SpecialFile(PathBuf),
    /// Directories nested beyond the limit.
    #[error("importing {0}: directories are nested too deeply")]
    TooDeep(PathBuf),
    /// More files than a manifest may have.
    #[error("importing {0}: too many files")]
    TooManyFiles(PathBuf),
    /// A path that does not mean one file everywhere.
    #[error("importing {path}: {source}")]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        source: PathError,
    },
    /// A file changed while it was read.
    #[error("importing {0}: it changed while it was read")]
    SourceChanged(PathBuf),
    /// A configuration file is too large to be one.
    #[error("importing {0}: too large for a configuration file")]
    PartTooLarge(PathBuf),
    /// A GGUF file was refused.
    #[error("importing {path}: {source}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: GgufError,
    },
    /// A safetensors file was refused.
    #[error("importing {path}: {source}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SafetensorsError,
    },
    /// A configuration file was refused.
    #[error("importing a model: {0}")]
    Canonical(#[from] CanonicalError),
    /// The directory holds more than one model.
    #[error("importing a model: the directory holds several; import them one by one")]
    SeveralModels,
    /// The entries do not make a manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The files are not what somebody said they are.
    #[error(
        "importing: none of the ids of these files is {expected}; together they are the artifact {found}"
    )]
    OtherIds {
        /// What was said.
        expected: Digest32,
        /// What they are.
        found: ArtifactId,
    },
    /// The same files are stored as the other kind of artifact.
    #[error("importing {0}: it is stored as another kind of artifact, remove it first")]
    OtherKind(ArtifactId),
    /// No such artifact.
    #[error("looking up artifact {0}: not in the store")]
    UnknownArtifact(ArtifactId),
    /// No such name.
    #[error("looking up the name {0}: not in the store")]
    UnknownName(ArtifactName),
    /// No such blob.
    #[error("reading blob {0}: not in the store")]
    UnknownBlob(Digest32),
    /// A blob's content is not what its name says.
    #[error("reading blob {expected}: its content has the hash {found}; import the artifact again")]
    CorruptBlob {
        /// Its name.
        expected: Digest32,
        /// The hash of what was read.
        found: Digest32,
    },
    /// A range of a blob is not what the blob's name says.
    #[error("reading blob {blob}: its content is damaged at byte {at}; import the artifact again")]
    CorruptRange {
        /// Its name.
        blob: Digest32,
        /// Where the first damaged group begins.
        at: u64,
    },
    /// The hashes inside of a blob's hash are damaged.
    #[error("reading blob {0}: the hashes beside it were damaged; they are made anew when it is read again")]
    CorruptOutboard(Digest32),
    /// A range that a blob does not have, or that does not begin and end with its groups.
    #[error("reading blob {blob}: {start} to {end} is no range of groups of its {size} bytes")]
    BadRange {
        /// The blob.
        blob: Digest32,
        /// First byte.
        start: u64,
        /// Behind the last byte.
        end: u64,
        /// The blob's length in bytes.
        size: u64,
    },
    /// More bytes than any blob has.
    #[error("receiving blob {blob}: {size} bytes are more than any file has")]
    TooLarge {
        /// The blob.
        blob: Digest32,
        /// The length that was stated.
        size: u64,
    },
    /// A download lacks bytes.
    #[error("publishing a download: blob {blob} lacks {missing_bytes} bytes")]
    Incomplete {
        /// The blob.
        blob: Digest32,
        /// How many bytes of it were not verified yet.
        missing_bytes: u64,
    },
    /// A manifest is damaged.
    #[error("reading the manifest of {0}: it is damaged; import the artifact again")]
    CorruptManifest(ArtifactId),
}

impl StoreError {
    /// For `map_err`: wraps what the file system says.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}
