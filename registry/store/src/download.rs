//! From verified bytes to an artifact of the store.

use crate::error::StoreError;
use crate::import::{Progress, Source, recompute};
use crate::layout::PartialFile;
use crate::partial::Partial;
use crate::ranges::BLOB_BYTES_MAX;
use crate::store::Store;
use assay_manifest::{ArtifactKind, Digest32, FileEntry, Manifest};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

impl Store {
    /// Whether a blob of this length is here. Its content is checked when it is read.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn holds(&self, blake3: &Digest32, size: u64) -> Result<bool, StoreError> {
        Ok(self.layout.blob_size(blake3)? == Some(size))
    }

    /// Opens a blob that is on its way in, with what was verified of it before; whoever has it open shares it.
    ///
    /// # Errors
    /// When it is longer than any blob, or the file system fails.
    pub fn partial(&self, blake3: &Digest32, size: u64) -> Result<Arc<Partial>, StoreError> {
        self.downloads.open(&self.layout, blake3, size)
    }

    /// The ranges of a blob that are neither in the store nor on their way; opens nothing where no download was begun.
    ///
    /// # Errors
    /// When it is longer than any blob, or the file system fails.
    pub fn missing(&self, blake3: &Digest32, size: u64) -> Result<Vec<Range<u64>>, StoreError> {
        if size == 0 || self.holds(blake3, size)? {
            return Ok(Vec::new());
        }
        if size <= BLOB_BYTES_MAX && !self.layout.partial_path(blake3, size, PartialFile::Record).exists() {
            return Ok(std::iter::once(0..size).collect());
        }
        Ok(self.partial(blake3, size)?.missing(0..size))
    }

    /// Whether every blob of a manifest is here, by its length.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn holds_all(&self, manifest: &Manifest) -> Result<bool, StoreError> {
        for file in manifest.files() {
            if !self.holds(&file.blake3, file.size)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes an artifact of downloaded blobs. Of what `claimed` says only the files count, which its artifact id
    /// binds: tensors, parts and every hash are computed anew from the disk, by the rules of an import, and it is the
    /// computed manifest that enters and is returned.
    ///
    /// A blob that turns out to be damaged, on its way or in the store, is removed, so that it can be fetched anew. What
    /// is of its blob stays, also when it does not make the artifact: others may be in need of it.
    ///
    /// # Errors
    /// When bytes are missing, a blob is damaged, the files do not make the artifact or are no model, or the file system
    /// fails. Nothing has entered the store then.
    pub fn publish_download(
        &self,
        claimed: &Manifest,
        kind: ArtifactKind,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Manifest, StoreError> {
        let _lease = self.lease(claimed);
        let arrived = self.arrived(claimed)?;
        let sources = claimed.files().iter().map(|file| self.source(file, &arrived)).collect();
        let expected = claimed.artifact_id().digest();
        let refusal = match recompute(sources, kind, progress) {
            Ok(found) if found.artifact_id() == claimed.artifact_id() => {
                self.place(&found, &arrived)?;
                return Ok(found);
            }
            Ok(found) => StoreError::OtherIds { expected, found: found.artifact_id() },
            Err(error @ StoreError::Io { .. }) => return Err(error),
            Err(error) => error,
        };
        match self.remove_damaged(claimed, &arrived)? {
            Some(damage) => Err(damage),
            None => Err(refusal),
        }
    }

    /// The blobs of a manifest that were downloaded, whole and synced.
    fn arrived(&self, claimed: &Manifest) -> Result<BTreeMap<Digest32, Arc<Partial>>, StoreError> {
        let mut arrived = BTreeMap::new();
        for FileEntry { blake3, size, .. } in claimed.files() {
            if self.holds(blake3, *size)? || arrived.contains_key(blake3) {
                continue;
            }
            let partial = self.partial(blake3, *size)?;
            match partial.missing_bytes() {
                0 if partial.is_synced() => {}
                0 => partial.sync()?,
                missing_bytes => return Err(StoreError::Incomplete { blob: *blake3, missing_bytes }),
            }
            arrived.insert(*blake3, partial);
        }
        Ok(arrived)
    }

    fn source(&self, file: &FileEntry, arrived: &BTreeMap<Digest32, Arc<Partial>>) -> Source {
        let download = arrived.get(&file.blake3).cloned();
        let location = match download {
            Some(_) => self.layout.partial_path(&file.blake3, file.size, PartialFile::Data),
            None => self.layout.blob_path(&file.blake3),
        };
        Source { location, download, path: file.path.clone(), size: file.size }
    }

    /// Moves what arrived to its place, unless another has done so, and enters the manifest.
    fn place(&self, found: &Manifest, arrived: &BTreeMap<Digest32, Arc<Partial>>) -> Result<(), StoreError> {
        let _changing = self.changing();
        self.check_kind(found)?;
        for (blob, partial) in arrived {
            self.downloads.close(partial, || self.layout.place_partial(blob, partial.size_bytes()))?;
        }
        for FileEntry { blake3, size, .. } in found.files() {
            if !self.holds(blake3, *size)? {
                return Err(StoreError::Incomplete { blob: *blake3, missing_bytes: *size });
            }
        }
        self.enter(found)
    }

    /// Reads every blob of a manifest, and removes those whose content is another; returns what one of them is.
    fn remove_damaged(
        &self,
        claimed: &Manifest,
        arrived: &BTreeMap<Digest32, Arc<Partial>>,
    ) -> Result<Option<StoreError>, StoreError> {
        let sizes: BTreeMap<_, _> = claimed.files().iter().map(|file| (file.blake3, file.size)).collect();
        let mut found = None;
        for (blob, size) in sizes {
            let Some(damage) = self.damage(&blob, size, arrived.get(&blob))? else { continue };
            tracing::error!(%damage, "a blob is removed, to be fetched anew");
            found = Some(damage);
        }
        Ok(found)
    }

    /// Removes a blob if it is damaged, and returns what it is.
    fn damage(
        &self,
        blob: &Digest32,
        size: u64,
        arrived: Option<&Arc<Partial>>,
    ) -> Result<Option<StoreError>, StoreError> {
        if let Some(partial) = arrived {
            let Some(damage) = partial.damage()? else { return Ok(None) };
            self.downloads.close(partial, || self.layout.remove_partial(blob, size))?;
            return Ok(Some(damage));
        }
        if self.stored_damage(blob)?.is_none() {
            return Ok(None);
        }
        // Somebody may have imported it since: what is found under the lock is what is removed.
        let _changing = self.changing();
        let damage = self.stored_damage(blob)?;
        if damage.is_some() {
            self.layout.remove_blob(blob)?;
        }
        Ok(damage)
    }

    /// What is wrong with a blob in the store; one that is gone is not.
    fn stored_damage(&self, blob: &Digest32) -> Result<Option<StoreError>, StoreError> {
        match self.open_verified(blob) {
            Ok(_) | Err(StoreError::UnknownBlob(_)) => Ok(None),
            Err(damage @ StoreError::CorruptBlob { .. }) => Ok(Some(damage)),
            Err(error) => Err(error),
        }
    }
}
