//! The index: every id of every artifact, and the names, in one sled tree.
//!
//! Keys begin with a byte for their table. Only what the files say is in it, so it may be lost at any time.

use assay_manifest::{ArtifactId, ArtifactName, Digest32, Manifest};
use sled::{Batch, IVec};
use std::collections::BTreeSet;
use std::path::Path;

/// What a digest is to an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdKind {
    /// Its primary id.
    Artifact,
    /// The id of its weights.
    Weights,
    /// The id that jobs name it by.
    Model,
    /// Its subject digest in OpenSSF Model Signing.
    Oms,
    /// SHA-256 of one of its files; what git-lfs calls oid.
    FileSha256,
    /// BLAKE3 of one of its files.
    FileBlake3,
}

/// An artifact that a digest belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// What the digest is to it.
    pub kind: IdKind,
    /// The artifact.
    pub artifact_id: ArtifactId,
}

#[derive(Debug)]
pub(crate) struct Index {
    tree: sled::Db,
}

/// `0 ‖ artifact_id`: the artifact has a manifest.
const ARTIFACTS: u8 = 0;
/// `1 ‖ digest ‖ kind ‖ artifact_id`.
const IDS: u8 = 1;
/// `2 ‖ name`, with the artifact id as value.
const NAMES: u8 = 2;

/// Memory for sled's pages; the index of a thousand models fits.
const CACHE_BYTES: u64 = 16 << 20;

impl IdKind {
    const ALL: [Self; 6] =
        [Self::Artifact, Self::Weights, Self::Model, Self::Oms, Self::FileSha256, Self::FileBlake3];

    const fn byte(self) -> u8 {
        self as u8
    }
}

impl Index {
    pub(crate) fn open(dir: &Path) -> sled::Result<Self> {
        let tree = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).open()?;
        Ok(Self { tree })
    }

    /// Adds an artifact that can only be listed, because its manifest is damaged.
    pub(crate) fn insert_unread(&self, id: &ArtifactId) -> sled::Result<()> {
        self.tree.insert(artifact_key(id), &[])?;
        self.flush()
    }

    pub(crate) fn insert(&self, manifest: &Manifest) -> sled::Result<()> {
        let artifact_id = manifest.artifact_id();
        let mut batch = Batch::default();
        batch.insert(artifact_key(&artifact_id), &[]);
        for (digest, kind) in ids(manifest) {
            batch.insert(id_key(&digest, kind, &artifact_id), &[]);
        }
        self.tree.apply_batch(batch)?;
        self.flush()
    }

    /// Removes the artifact and all its ids; names that stand for it stay.
    pub(crate) fn remove(&self, id: &ArtifactId) -> sled::Result<()> {
        let mut batch = Batch::default();
        batch.remove(artifact_key(id));
        for key in self.tree.scan_prefix([IDS]).keys() {
            let key = key?;
            if key.ends_with(id.as_bytes()) {
                batch.remove(key);
            }
        }
        self.tree.apply_batch(batch)?;
        self.flush()
    }

    pub(crate) fn artifacts(&self) -> sled::Result<BTreeSet<ArtifactId>> {
        let id = |key: IVec| key.last_chunk().copied().map(ArtifactId::from_bytes);
        self.tree.scan_prefix([ARTIFACTS]).keys().filter_map(|key| key.map(id).transpose()).collect()
    }

    /// Every artifact that the digest belongs to.
    pub(crate) fn find(&self, digest: &Digest32) -> sled::Result<Vec<Match>> {
        let parse = |key: IVec| {
            let (rest, id) = key.split_last_chunk()?;
            let kind = IdKind::ALL.get(usize::from(*rest.last()?)).copied()?;
            Some(Match { kind, artifact_id: ArtifactId::from_bytes(*id) })
        };
        let prefix = [&[IDS], digest.as_bytes().as_slice()].concat();
        self.tree.scan_prefix(prefix).keys().filter_map(|key| key.map(parse).transpose()).collect()
    }

    pub(crate) fn set_name(&self, name: &ArtifactName, id: &ArtifactId) -> sled::Result<()> {
        self.tree.insert(name_key(name), id.as_bytes())?;
        self.flush()
    }

    pub(crate) fn remove_name(&self, name: &ArtifactName) -> sled::Result<()> {
        self.tree.remove(name_key(name))?;
        self.flush()
    }

    pub(crate) fn name(&self, name: &ArtifactName) -> sled::Result<Option<ArtifactId>> {
        let value = self.tree.get(name_key(name))?;
        Ok(value.and_then(|value| value.first_chunk().copied()).map(ArtifactId::from_bytes))
    }

    pub(crate) fn names(&self) -> sled::Result<BTreeSet<(ArtifactName, ArtifactId)>> {
        let parse = |(key, value): (IVec, IVec)| {
            let name = std::str::from_utf8(key.get(1..)?).ok()?.parse().ok()?;
            Some((name, ArtifactId::from_bytes(*value.first_chunk()?)))
        };
        self.tree.scan_prefix([NAMES]).filter_map(|entry| entry.map(parse).transpose()).collect()
    }

    fn flush(&self) -> sled::Result<()> {
        self.tree.flush().map(drop)
    }
}

fn artifact_key(id: &ArtifactId) -> Vec<u8> {
    [&[ARTIFACTS], id.as_bytes().as_slice()].concat()
}

fn id_key(digest: &Digest32, kind: IdKind, artifact: &ArtifactId) -> Vec<u8> {
    [&[IDS], digest.as_bytes().as_slice(), &[kind.byte()], artifact.as_bytes()].concat()
}

fn name_key(name: &ArtifactName) -> Vec<u8> {
    [&[NAMES], name.as_str().as_bytes()].concat()
}

/// Every id by which an artifact can be looked up.
pub(crate) fn ids(manifest: &Manifest) -> Vec<(Digest32, IdKind)> {
    let mut ids =
        vec![(manifest.artifact_id().digest(), IdKind::Artifact), (manifest.oms_digest(), IdKind::Oms)];
    if let Some(parts) = manifest.model_parts() {
        ids.push((parts.weights_id.digest(), IdKind::Weights));
        ids.push((parts.model_id().digest(), IdKind::Model));
    }
    for file in manifest.files() {
        ids.push((file.sha256, IdKind::FileSha256));
        ids.push((file.blake3, IdKind::FileBlake3));
    }
    ids
}
