//! Where files stand, and how they get there and away without being seen half done.

use crate::error::StoreError;
use crate::room::PinReason;
use assay_manifest::{ArtifactId, ArtifactName, Digest32, Manifest};
use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// The store's directory, locked.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    next_temp: AtomicU64,
    _lock: File,
    /// Tests let the steps after this many fail, as if the process had been killed.
    #[cfg(test)]
    pub(crate) steps_left: AtomicU64,
}

/// A file in `tmp`, removed when dropped before it was moved to its place.
#[derive(Debug)]
pub(crate) struct TempFile {
    path: PathBuf,
}

const BLOBS: &str = "blobs";
const MANIFESTS: &str = "manifests";
const NAMES: &str = "names";
const TEMP: &str = "tmp";
const OUTBOARDS: &str = "outboards";
const PARTIAL: &str = "partial";
const PINS: &str = "pins";

/// A file of a download that is not whole yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartialFile {
    /// Which ranges were verified. It goes first, so that none is claimed of files that are gone.
    Record,
    /// The hashes inside of the blob's hash.
    Outboard,
    /// The content, with holes.
    Data,
}

impl PartialFile {
    /// In the order in which they are removed.
    const ALL: [Self; 3] = [Self::Record, Self::Outboard, Self::Data];

    const fn extension(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Outboard => "outboard",
            Self::Data => "data",
        }
    }
}

impl Layout {
    /// Creates what is missing, takes the lock and empties `tmp`.
    pub(crate) fn open(root: &Path) -> Result<Self, StoreError> {
        for directory in [BLOBS, MANIFESTS, NAMES, TEMP, OUTBOARDS, PARTIAL, PINS] {
            let path = root.join(directory);
            fs::create_dir_all(&path).map_err(StoreError::io("creating", &path))?;
        }
        let layout = Self {
            root: root.to_owned(),
            next_temp: AtomicU64::new(0),
            _lock: lock(root)?,
            #[cfg(test)]
            steps_left: AtomicU64::new(u64::MAX),
        };
        for path in entries(&root.join(TEMP))? {
            fs::remove_file(&path).map_err(StoreError::io("removing", &path))?;
        }
        sync_dir(root)?;
        Ok(layout)
    }

    /// Where sled keeps the index.
    pub(crate) fn index_dir(&self) -> PathBuf {
        self.root.join("index")
    }

    /// Where a blob stands, or would.
    pub(crate) fn blob_path(&self, blake3: &Digest32) -> PathBuf {
        self.sharded(BLOBS, blake3)
    }

    /// The length of a blob's file in bytes, if there is one.
    pub(crate) fn blob_size(&self, blake3: &Digest32) -> Result<Option<u64>, StoreError> {
        let path = self.blob_path(blake3);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            metadata => {
                metadata.map(|metadata| Some(metadata.len())).map_err(StoreError::io("reading", &path))
            }
        }
    }

    /// Where the hashes inside of a blob's hash stand, or would.
    pub(crate) fn outboard_path(&self, blake3: &Digest32) -> PathBuf {
        self.sharded(OUTBOARDS, blake3)
    }

    fn sharded(&self, directory: &str, blake3: &Digest32) -> PathBuf {
        let name = hex(blake3);
        let (prefix, _) = name.split_at(2);
        self.root.join(directory).join(prefix).join(&name)
    }

    /// Where a file of a download stands. The length is part of the name, because whoever states a wrong one for a
    /// hash must not undo the download of the right one.
    pub(crate) fn partial_path(&self, blake3: &Digest32, size: u64, file: PartialFile) -> PathBuf {
        self.root.join(PARTIAL).join(format!("{}-{size}.{}", hex(blake3), file.extension()))
    }

    fn manifest_path(&self, id: &ArtifactId) -> PathBuf {
        self.root.join(MANIFESTS).join(hex(&id.digest()))
    }

    fn name_path(&self, name: &ArtifactName) -> PathBuf {
        self.root.join(NAMES).join(name.as_str())
    }

    /// A new file in `tmp`.
    pub(crate) fn create_temp(&self) -> Result<(TempFile, File), StoreError> {
        self.step()?;
        let number = self.next_temp.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(TEMP).join(number.to_string());
        let file = File::create_new(&path).map_err(StoreError::io("creating", &path))?;
        Ok((TempFile { path }, file))
    }

    /// Moves synced files to where their hashes say, replacing what stands there: it is either the same or
    /// damaged.
    pub(crate) fn place_blobs(&self, blobs: Vec<(TempFile, Digest32)>) -> Result<(), StoreError> {
        let mut directories = BTreeSet::new();
        for (temp, blake3) in blobs {
            let path = self.blob_path(&blake3);
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory).map_err(StoreError::io("creating", directory))?;
                directories.insert(directory.to_owned());
            }
            self.rename(temp, &path)?;
        }
        directories.insert(self.root.join(BLOBS));
        directories.iter().try_for_each(|directory| sync_dir(directory))
    }

    /// Moves the files of a finished download to where the blob's hash says; they are synced.
    pub(crate) fn place_partial(&self, blake3: &Digest32, size: u64) -> Result<(), StoreError> {
        // The content first: without it, what was verified would have to be fetched again.
        let moves = [
            (PartialFile::Data, self.blob_path(blake3)),
            (PartialFile::Outboard, self.outboard_path(blake3)),
        ];
        for (file, to) in moves {
            self.place(&self.partial_path(blake3, size, file), &to)?;
        }
        self.remove(&self.partial_path(blake3, size, PartialFile::Record))
    }

    /// Moves a synced file to its place, which then lasts.
    pub(crate) fn place(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.step()?;
        if let Some(directory) = to.parent() {
            fs::create_dir_all(directory).map_err(StoreError::io("creating", directory))?;
        }
        fs::rename(from, to).map_err(StoreError::io("writing", to))?;
        to.ancestors().skip(1).take(2).try_for_each(sync_dir)
    }

    /// Removes the files of a download.
    pub(crate) fn remove_partial(&self, blake3: &Digest32, size: u64) -> Result<(), StoreError> {
        PartialFile::ALL.iter().try_for_each(|file| self.remove(&self.partial_path(blake3, size, *file)))
    }

    /// The files of downloads: of which blob, the length that it was begun for, and when the file last changed.
    pub(crate) fn partials(&self) -> Result<Vec<(Digest32, u64, SystemTime)>, StoreError> {
        let parse = |path: PathBuf| {
            let (blake3, size) = path.file_stem()?.to_str()?.split_once('-')?;
            let changed = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok()?;
            Some((blake3.parse().ok()?, size.parse().ok()?, changed))
        };
        Ok(entries(&self.root.join(PARTIAL))?.into_iter().filter_map(parse).collect())
    }

    /// Notes that an artifact was used now.
    pub(crate) fn touch(&self, id: &ArtifactId) -> Result<(), StoreError> {
        let path = self.manifest_path(id);
        let touched =
            File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        touched.map_err(StoreError::io("touching", &path))
    }

    /// When an artifact was used last.
    pub(crate) fn used_at(&self, id: &ArtifactId) -> Result<SystemTime, StoreError> {
        let path = self.manifest_path(id);
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
        modified.map_err(StoreError::io("reading", &path))
    }

    pub(crate) fn write_pin(&self, id: &ArtifactId, reason: PinReason) -> Result<(), StoreError> {
        self.write(&self.pin_path(id, reason), b"")
    }

    pub(crate) fn remove_pin(&self, id: &ArtifactId, reason: PinReason) -> Result<(), StoreError> {
        self.remove(&self.pin_path(id, reason))
    }

    fn pin_path(&self, id: &ArtifactId, reason: PinReason) -> PathBuf {
        self.root.join(PINS).join(format!("{}.{}", hex(&id.digest()), reason.name()))
    }

    pub(crate) fn pins(&self) -> Result<BTreeSet<(ArtifactId, PinReason)>, StoreError> {
        let parse = |path: PathBuf| {
            let (id, reason) = path.file_name()?.to_str()?.split_once('.')?;
            Some((id.parse().ok()?, PinReason::from_name(reason)?))
        };
        Ok(entries(&self.root.join(PINS))?.into_iter().filter_map(parse).collect())
    }

    pub(crate) fn write_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let mut bytes = manifest.to_bytes();
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        self.write(&self.manifest_path(&manifest.artifact_id()), &bytes)
    }

    pub(crate) fn read_manifest(&self, id: &ArtifactId) -> Result<Manifest, StoreError> {
        let path = self.manifest_path(id);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::UnknownArtifact(*id));
            }
            read => read.map_err(StoreError::io("reading", &path))?,
        };
        let checked = bytes.split_last_chunk::<32>().filter(|(bytes, sum)| blake3::hash(bytes) == **sum);
        checked
            .and_then(|(bytes, _)| Manifest::from_bytes(bytes).ok())
            .filter(|manifest| manifest.artifact_id() == *id)
            .ok_or(StoreError::CorruptManifest(*id))
    }

    pub(crate) fn remove_manifest(&self, id: &ArtifactId) -> Result<(), StoreError> {
        self.remove(&self.manifest_path(id))
    }

    pub(crate) fn remove_blob(&self, blake3: &Digest32) -> Result<(), StoreError> {
        self.remove(&self.blob_path(blake3))?;
        self.remove_outboard(blake3)
    }

    pub(crate) fn remove_outboard(&self, blake3: &Digest32) -> Result<(), StoreError> {
        self.remove(&self.outboard_path(blake3))
    }

    pub(crate) fn write_name(&self, name: &ArtifactName, id: &ArtifactId) -> Result<(), StoreError> {
        self.write(&self.name_path(name), id.to_string().as_bytes())
    }

    pub(crate) fn remove_name(&self, name: &ArtifactName) -> Result<(), StoreError> {
        self.remove(&self.name_path(name))
    }

    /// The names and what they stand for, as far as they can be read.
    pub(crate) fn names(&self) -> Result<BTreeSet<(ArtifactName, ArtifactId)>, StoreError> {
        let parse = |path: PathBuf| {
            let name = path.file_name()?.to_str()?.parse().ok()?;
            Some((name, fs::read_to_string(&path).ok()?.parse().ok()?))
        };
        Ok(entries(&self.root.join(NAMES))?.into_iter().filter_map(parse).collect())
    }

    /// The artifacts that have a manifest, damaged ones too.
    pub(crate) fn artifacts(&self) -> Result<BTreeSet<ArtifactId>, StoreError> {
        Ok(digests(&self.root.join(MANIFESTS))?.map(ArtifactId::from_digest).collect())
    }

    /// The blobs that stand in the store, damaged ones too.
    pub(crate) fn blobs(&self) -> Result<Vec<Digest32>, StoreError> {
        self.all_sharded(BLOBS)
    }

    /// The blobs whose inner hashes stand in the store.
    pub(crate) fn outboards(&self) -> Result<Vec<Digest32>, StoreError> {
        self.all_sharded(OUTBOARDS)
    }

    fn all_sharded(&self, directory: &str) -> Result<Vec<Digest32>, StoreError> {
        let mut found = Vec::new();
        for directory in entries(&self.root.join(directory))? {
            found.extend(digests(&directory)?);
        }
        Ok(found)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let (temp, mut file) = self.create_temp()?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(StoreError::io("writing", &temp.path))?;
        self.rename(temp, path)?;
        path.parent().map_or(Ok(()), sync_dir)
    }

    fn rename(&self, temp: TempFile, path: &Path) -> Result<(), StoreError> {
        self.step()?;
        fs::rename(&temp.path, path).map_err(StoreError::io("writing", path))
    }

    /// Removes a file; one that is gone already is as good.
    fn remove(&self, path: &Path) -> Result<(), StoreError> {
        self.step()?;
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed.map_err(StoreError::io("removing", path))?,
        }
        path.parent().map_or(Ok(()), sync_dir)
    }

    /// Called before each lasting change.
    #[cfg(not(test))]
    pub(crate) fn step(&self) -> Result<(), StoreError> {
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn step(&self) -> Result<(), StoreError> {
        let taken = self.steps_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        let killed = io::Error::other("killed by the test");
        taken.map(drop).map_err(|_| StoreError::io("writing", &self.root)(killed))
    }
}

impl TempFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // Gone if it was renamed; if it cannot be removed, the next opening does.
        let _ = fs::remove_file(&self.path);
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let paths = |entries: fs::ReadDir| entries.map(|entry| Ok(entry?.path())).collect();
    fs::read_dir(directory).and_then(paths).map_err(StoreError::io("listing", directory))
}

/// The files whose names are digests.
fn digests(directory: &Path) -> Result<impl Iterator<Item = Digest32> + use<>, StoreError> {
    let parse = |path: PathBuf| path.file_name()?.to_str()?.parse().ok();
    Ok(entries(directory)?.into_iter().filter_map(parse))
}

fn hex(digest: &Digest32) -> String {
    digest.to_string().trim_start_matches("0x").to_owned()
}

fn lock(root: &Path) -> Result<File, StoreError> {
    let path = root.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(StoreError::io("opening", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(root.to_owned())),
        Err(TryLockError::Error(source)) => Err(StoreError::io("locking", &path)(source)),
    }
}

/// Makes renames and removals in a directory last. Only Unix lets a directory be synced, and only there
/// it is needed.
fn sync_dir(directory: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let synced = File::open(directory).and_then(|file| file.sync_all());
        synced.map_err(StoreError::io("syncing", directory))?;
    }
    Ok(())
}
