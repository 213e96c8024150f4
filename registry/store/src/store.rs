//! The store itself.

use crate::error::StoreError;
use crate::import::{self, Progress};
use crate::index::{self, Index, Match};
use crate::layout::{Layout, TempFile};
use crate::outboard::BlobReader;
use crate::partial::Downloads;
use crate::room::{Leased, Leases, PinReason};
use assay_manifest::{ArtifactId, ArtifactKind, ArtifactName, Digest32, Manifest};
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// An open store; see the crate's documentation for its shape.
///
/// All methods take `&self` and may run at the same time.
#[derive(Debug)]
pub struct Store {
    pub(crate) layout: Layout,
    pub(crate) index: Index,
    /// Held while blobs and manifests change, so that garbage collection sees no blob that came before its
    /// manifest.
    changing: Mutex<()>,
    /// Blobs that are being read.
    pub(crate) leases: Leases,
    /// Blobs that are on their way in.
    pub(crate) downloads: Downloads,
}

impl Store {
    /// Opens the store in `dir`, creating it if there is none, and repairs what a crash left.
    ///
    /// # Errors
    /// When it is open elsewhere, or the file system fails.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let layout = Layout::open(dir)?;
        let index = match sound_index(&layout)? {
            Some(index) => index,
            None => rebuilt_index(&layout)?,
        };
        let (leases, downloads) = (Leases::default(), Downloads::default());
        Ok(Self { layout, index, changing: Mutex::new(()), leases, downloads })
    }

    /// Copies a file, or a directory with all below it, into the store and returns its manifest.
    ///
    /// Each file is read once. Entries at the top that begin with `.git` are left out, as OpenSSF Model
    /// Signing does. The files of a model are GGUF or safetensors, of one model.
    ///
    /// # Errors
    /// When something is neither file nor directory, a model's file is malformed, a file changes meanwhile,
    /// or the file system fails. Nothing has been imported then.
    pub fn import(
        &self,
        path: &Path,
        kind: ArtifactKind,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Manifest, StoreError> {
        let (manifest, blobs) = import::import(&self.layout, path, kind, progress)?;
        self.publish(&manifest, blobs)?;
        Ok(manifest)
    }

    /// [`Self::import`] of files that somebody said have this id: of the artifact, its weights or model, or a
    /// hash of one of the files. All ids are computed from what is read; none is taken over.
    ///
    /// # Errors
    /// As [`Self::import`], and when none of the computed ids is the expected one.
    pub fn import_expecting(
        &self,
        path: &Path,
        kind: ArtifactKind,
        expected: &Digest32,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Manifest, StoreError> {
        let (manifest, blobs) = import::import(&self.layout, path, kind, progress)?;
        if !index::ids(&manifest).iter().any(|(digest, _)| digest == expected) {
            return Err(StoreError::OtherIds { expected: *expected, found: manifest.artifact_id() });
        }
        self.publish(&manifest, blobs)?;
        Ok(manifest)
    }

    fn publish(&self, manifest: &Manifest, blobs: Vec<(TempFile, Digest32)>) -> Result<(), StoreError> {
        let _changing = self.changing();
        self.check_kind(manifest)?;
        self.layout.place_blobs(blobs)?;
        self.enter(manifest)
    }

    /// Refuses files that are stored as the other kind of artifact.
    pub(crate) fn check_kind(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let id = manifest.artifact_id();
        match self.layout.read_manifest(&id) {
            Ok(stored) if stored.kind() != manifest.kind() => Err(StoreError::OtherKind(id)),
            _ => Ok(()),
        }
    }

    /// Writes a manifest whose blobs are there, and then its index entries.
    pub(crate) fn enter(&self, manifest: &Manifest) -> Result<(), StoreError> {
        self.layout.write_manifest(manifest)?;
        self.layout.step()?;
        Ok(self.index.insert(manifest)?)
    }

    /// The artifacts in the store, in order of their ids.
    ///
    /// # Errors
    /// When the index fails.
    pub fn list(&self) -> Result<BTreeSet<ArtifactId>, StoreError> {
        Ok(self.index.artifacts()?)
    }

    /// The manifest of an artifact.
    ///
    /// # Errors
    /// When it is unknown or damaged.
    pub fn get(&self, id: &ArtifactId) -> Result<Manifest, StoreError> {
        self.layout.read_manifest(id)
    }

    /// Every artifact that a digest of any kind belongs to.
    ///
    /// # Errors
    /// When the index fails.
    pub fn find(&self, digest: &Digest32) -> Result<Vec<Match>, StoreError> {
        Ok(self.index.find(digest)?)
    }

    /// Gives an artifact a name in this store, taking it from another if that had it.
    ///
    /// # Errors
    /// When the artifact is unknown, or the file system fails.
    pub fn set_name(&self, name: &ArtifactName, id: &ArtifactId) -> Result<(), StoreError> {
        let _changing = self.changing();
        self.layout.read_manifest(id)?;
        self.layout.write_name(name, id)?;
        self.layout.step()?;
        Ok(self.index.set_name(name, id)?)
    }

    /// The artifact of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn by_name(&self, name: &ArtifactName) -> Result<ArtifactId, StoreError> {
        self.index.name(name)?.ok_or_else(|| StoreError::UnknownName(name.clone()))
    }

    /// All names, in order.
    ///
    /// # Errors
    /// When the index fails.
    pub fn names(&self) -> Result<BTreeSet<(ArtifactName, ArtifactId)>, StoreError> {
        Ok(self.index.names()?)
    }

    /// Opens a blob for reading, after its content was read and found to be what its name says.
    ///
    /// # Errors
    /// When it is not in the store, or its content is another.
    pub fn open_verified(&self, blake3: &Digest32) -> Result<File, StoreError> {
        let (mut file, path) = self.open_blob(blake3)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&mut file).map_err(StoreError::io("reading", &path))?;
        check(blake3, &hasher)?;
        file.rewind().map_err(StoreError::io("reading", &path))?;
        Ok(file)
    }

    /// Opens a blob for reading as it lies there, for what is checked otherwise or decides nothing.
    ///
    /// # Errors
    /// When it is not in the store.
    pub fn open_unverified(&self, blake3: &Digest32) -> Result<File, StoreError> {
        Ok(self.open_blob(blake3)?.0)
    }

    /// Opens a blob of which ranges are to be read, each with the hashes that verify it. The first time this reads the
    /// whole blob, unless it came from somebody who read it so.
    ///
    /// # Errors
    /// When it is not in the store, its content is another, or the file system fails.
    pub fn reader(&self, blake3: &Digest32) -> Result<BlobReader, StoreError> {
        BlobReader::open(&self.layout, blake3, self.leases.take(vec![*blake3]))
    }

    /// The content of a blob, checked against its name.
    ///
    /// # Errors
    /// When it is not in the store, or its content is another.
    pub fn read_all_verified(&self, blake3: &Digest32) -> Result<Vec<u8>, StoreError> {
        let (mut file, path) = self.open_blob(blake3)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(StoreError::io("reading", &path))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes);
        check(blake3, &hasher)?;
        Ok(bytes)
    }

    fn open_blob(&self, blake3: &Digest32) -> Result<(File, std::path::PathBuf), StoreError> {
        let path = self.layout.blob_path(blake3);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::UnknownBlob(*blake3)),
            Err(source) => Err(StoreError::io("opening", &path)(source)),
            Ok(file) => Ok((file, path)),
        }
    }

    /// Removes an artifact, its names, and the blobs that no other artifact has.
    ///
    /// # Errors
    /// When it is unknown, or the file system fails.
    pub fn remove(&self, id: &ArtifactId) -> Result<(), StoreError> {
        let _changing = self.changing();
        self.remove_unlocked(id)
    }

    /// [`Self::remove`], while [`Self::changing`] is held.
    pub(crate) fn remove_unlocked(&self, id: &ArtifactId) -> Result<(), StoreError> {
        let blobs: HashSet<_> = match self.layout.read_manifest(id) {
            Ok(manifest) => manifest.files().iter().map(|file| file.blake3).collect(),
            // What it named cannot be known; garbage collection finds it.
            Err(StoreError::CorruptManifest(_)) => HashSet::new(),
            Err(error) => return Err(error),
        };
        for (name, _) in self.index.names()?.iter().filter(|(_, named)| named == id) {
            self.layout.remove_name(name)?;
            self.layout.step()?;
            self.index.remove_name(name)?;
        }
        self.layout.remove_manifest(id)?;
        self.layout.step()?;
        self.index.remove(id)?;
        for reason in PinReason::ALL {
            self.layout.remove_pin(id, reason)?;
        }
        for blob in blobs {
            if self.index.find(&blob)?.is_empty() {
                self.layout.remove_blob(&blob)?;
            }
        }
        Ok(())
    }

    /// Removes the blobs that no manifest names, and returns how many there were; and what belongs to nothing beside
    /// them: hashes of blobs that are gone, pins of artifacts that are gone, downloads that were given up.
    ///
    /// # Errors
    /// When a manifest is damaged, because the blobs that it named cannot be told from garbage; or the file
    /// system fails.
    pub fn collect_garbage(&self) -> Result<usize, StoreError> {
        let _changing = self.changing();
        let mut named = HashSet::new();
        for id in self.layout.artifacts()? {
            named.extend(self.layout.read_manifest(&id)?.files().iter().map(|file| file.blake3));
        }
        let mut removed = 0;
        for blob in self.layout.blobs()? {
            if named.contains(&blob) {
                continue;
            }
            if self.leases.unless_leased(&blob, || self.layout.remove_blob(&blob))? == Leased::No {
                removed += 1;
            }
        }
        self.collect_leftovers(SystemTime::now())?;
        Ok(removed)
    }

    pub(crate) fn changing(&self) -> MutexGuard<'_, ()> {
        // Nothing is behind the lock that a panic could leave half done: the files are the state.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(expected: &Digest32, hasher: &blake3::Hasher) -> Result<(), StoreError> {
    let found = Digest32::from_bytes(hasher.finalize().into());
    if found == *expected { Ok(()) } else { Err(StoreError::CorruptBlob { expected: *expected, found }) }
}

/// The index, if it can be opened and agrees with the files.
fn sound_index(layout: &Layout) -> Result<Option<Index>, StoreError> {
    let dir = layout.index_dir();
    let (artifacts, names) = (layout.artifacts()?, layout.names()?);
    // sled meets some damage with an error and some with a panic.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let index = Index::open(&dir)?;
        let agrees = index.artifacts()? == artifacts && index.names()? == names;
        Ok::<_, sled::Error>(agrees.then_some(index))
    }));
    match opened {
        Ok(Ok(Some(index))) => Ok(Some(index)),
        Ok(Ok(None)) => Ok(None),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the index of the store is damaged");
            Ok(None)
        }
        Err(_) => {
            tracing::warn!("the index of the store is damaged");
            Ok(None)
        }
    }
}

/// A new index from the files.
fn rebuilt_index(layout: &Layout) -> Result<Index, StoreError> {
    let dir = layout.index_dir();
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::io("removing", &dir)(error));
        }
        _ => {}
    }
    let index = Index::open(&dir)?;
    for id in layout.artifacts()? {
        match layout.read_manifest(&id) {
            Ok(manifest) => index.insert(&manifest)?,
            Err(StoreError::CorruptManifest(_)) => {
                tracing::warn!(artifact = %id, "a manifest in the store is damaged");
                index.insert_unread(&id)?;
            }
            Err(error) => return Err(error),
        }
    }
    for (name, id) in layout.names()? {
        index.set_name(&name, &id)?;
    }
    tracing::info!(artifacts = index.artifacts()?.len(), "the index of the store was rebuilt");
    Ok(index)
}
