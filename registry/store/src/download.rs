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

    /// Makes an artifact of downloaded blobs. Of what `claimed` says only the files count, which its artifact id
    /// binds: tensors, parts and every hash are computed anew from the disk, by the rules of an import, and it is the
    /// computed manifest that enters and is returned.
    ///
    /// What turns out to be something else is removed, so that it can be fetched anew.
    ///
    /// # Errors
    /// When bytes are missing, the files do not make the artifact or are no model, or the file system fails. Nothing
    /// has entered the store then.
    pub fn publish_download(
        &self,
        claimed: &Manifest,
        kind: ArtifactKind,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Manifest, StoreError> {
        let _lease = self.lease(claimed);
        let arrived = self.arrived(claimed)?;
        let sources = claimed.files().iter().map(|file| self.source(file, &arrived)).collect();
        let found = match recompute(sources, kind, progress) {
            Ok(found) => found,
            Err(error @ (StoreError::Io { .. } | StoreError::SourceChanged(_))) => return Err(error),
            Err(error) => {
                self.discard(&arrived, |_| true)?;
                return Err(error);
            }
        };
        if found.artifact_id() != claimed.artifact_id() {
            let wrong = |blob: &Digest32| !found.files().iter().any(|file| file.blake3 == *blob);
            // All bytes are of their blobs: then what was said of the blobs is wrong, and none of them is any use.
            let any_wrong = arrived.keys().any(wrong);
            self.discard(&arrived, |blob| !any_wrong || wrong(blob))?;
            let expected = claimed.artifact_id().digest();
            return Err(StoreError::OtherIds { expected, found: found.artifact_id() });
        }
        let _changing = self.changing();
        self.check_kind(&found)?;
        for (blob, partial) in &arrived {
            self.downloads.forget(blob, partial.size_bytes());
            self.layout.place_partial(blob, partial.size_bytes())?;
        }
        self.enter(&found)?;
        Ok(found)
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
        let location = if arrived.contains_key(&file.blake3) {
            self.layout.partial_path(&file.blake3, file.size, PartialFile::Data)
        } else {
            self.layout.blob_path(&file.blake3)
        };
        Source { location, path: file.path.clone(), size: file.size }
    }

    /// Removes downloaded blobs.
    fn discard(
        &self,
        arrived: &BTreeMap<Digest32, Arc<Partial>>,
        is_wrong: impl Fn(&Digest32) -> bool,
    ) -> Result<(), StoreError> {
        for (blob, partial) in arrived.iter().filter(|(blob, _)| is_wrong(blob)) {
            self.downloads.forget(blob, partial.size_bytes());
            self.layout.remove_partial(blob, partial.size_bytes())?;
        }
        Ok(())
    }
}
