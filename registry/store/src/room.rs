//! What may be removed to make room, and what may not.

use crate::error::StoreError;
use crate::store::Store;
use assay_manifest::{ArtifactId, Digest32, Manifest};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Why an artifact must stay in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinReason {
    /// The user said so.
    User,
    /// A provider of this node offers it.
    Offer,
    /// It is loaded because somebody asks for it, or has a job with it contested.
    Asked,
}

impl PinReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::User, Self::Offer, Self::Asked];

    /// How it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Offer => "offer",
            Self::Asked => "asked",
        }
    }

    /// The reason of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// A download that nothing was added to for so long is given up: its holders are gone, or nobody wants it any more.
const PARTIAL_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Blobs that somebody reads, and how many do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases(Arc<Mutex<HashMap<Digest32, usize>>>);

/// Keeps blobs in the store while somebody reads them.
#[derive(Debug)]
pub struct Lease {
    leases: Leases,
    blobs: Vec<Digest32>,
}

impl Leases {
    pub(crate) fn take(&self, blobs: Vec<Digest32>) -> Lease {
        let mut held = self.lock();
        for blob in &blobs {
            *held.entry(*blob).or_default() += 1;
        }
        drop(held);
        Lease { leases: self.clone(), blobs }
    }

    pub(crate) fn holds(&self, blob: &Digest32) -> bool {
        self.lock().contains_key(blob)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest32, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.leases.lock();
        for blob in &self.blobs {
            if let Some(readers) = held.get_mut(blob) {
                *readers -= 1;
                if *readers == 0 {
                    held.remove(blob);
                }
            }
        }
    }
}

/// What was removed to make room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// The artifacts that are gone, in the order in which they went.
    pub artifacts: Vec<ArtifactId>,
    /// Bytes that their blobs had.
    pub freed_bytes: u64,
    /// Bytes of the blobs that are left.
    pub left_bytes: u64,
}

/// An artifact as a candidate for removal.
struct Candidate {
    used_at: SystemTime,
    id: ArtifactId,
    blobs: HashSet<Digest32>,
}

impl Store {
    /// Keeps an artifact in the store until [`Self::unpin`] takes the reason back.
    ///
    /// # Errors
    /// When the artifact is unknown, or the file system fails.
    pub fn pin(&self, id: &ArtifactId, reason: PinReason) -> Result<(), StoreError> {
        let _changing = self.changing();
        self.layout.read_manifest(id)?;
        self.layout.write_pin(id, reason)
    }

    /// Takes a reason to keep an artifact back; one that there is not is as good.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn unpin(&self, id: &ArtifactId, reason: PinReason) -> Result<(), StoreError> {
        let _changing = self.changing();
        self.layout.remove_pin(id, reason)
    }

    /// Which artifacts must stay, and why.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn pins(&self) -> Result<BTreeSet<(ArtifactId, PinReason)>, StoreError> {
        self.layout.pins()
    }

    /// Keeps the blobs of a manifest in the store while the lease lives, those that are not there yet too.
    pub fn lease(&self, manifest: &Manifest) -> Lease {
        self.leases.take(manifest.files().iter().map(|file| file.blake3).collect())
    }

    /// Notes that an artifact was used: what was used least recently goes first.
    ///
    /// # Errors
    /// When it is unknown, or the file system fails.
    pub fn note_use(&self, id: &ArtifactId) -> Result<(), StoreError> {
        self.layout.touch(id)
    }

    /// Bytes of all blobs in the store.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn blob_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.blob_sizes()?.values().sum())
    }

    /// Removes artifacts until the blobs have `cap_bytes` or less: those that were used least recently first, and
    /// never one that is pinned, or of which a blob is being read or leased.
    ///
    /// After a crash between any two steps the artifact is there whole, or its blobs are garbage that
    /// [`Self::collect_garbage`] finds.
    ///
    /// # Errors
    /// When a manifest is damaged, or the file system fails.
    pub fn evict(&self, cap_bytes: u64) -> Result<Freed, StoreError> {
        let _changing = self.changing();
        let sizes = self.blob_sizes()?;
        let mut freed = Freed { left_bytes: sizes.values().sum(), ..Freed::default() };
        let (mut candidates, mut named) = self.candidates()?;
        let pinned: HashSet<_> = self.layout.pins()?.into_iter().map(|(id, _)| id).collect();
        candidates.sort_by_key(|candidate| (candidate.used_at, candidate.id));
        for Candidate { id, blobs, .. } in candidates {
            if freed.left_bytes <= cap_bytes {
                break;
            }
            // Held until the blobs are gone: whoever opens one later finds that it is not there.
            let held = self.leases.lock();
            if pinned.contains(&id) || blobs.iter().any(|blob| held.contains_key(blob)) {
                continue;
            }
            self.remove_unlocked(&id)?;
            drop(held);
            for blob in blobs {
                let others = named.get_mut(&blob).map_or(0, |count| {
                    *count -= 1;
                    *count
                });
                if others == 0 {
                    let bytes = sizes.get(&blob).copied().unwrap_or_default();
                    freed.freed_bytes += bytes;
                    freed.left_bytes -= bytes;
                }
            }
            freed.artifacts.push(id);
        }
        Ok(freed)
    }

    /// Every artifact, and how many artifacts name each blob.
    fn candidates(&self) -> Result<(Vec<Candidate>, HashMap<Digest32, usize>), StoreError> {
        let (mut candidates, mut named) = (Vec::new(), HashMap::<_, usize>::new());
        for id in self.layout.artifacts()? {
            let manifest = self.layout.read_manifest(&id)?;
            let blobs: HashSet<_> = manifest.files().iter().map(|file| file.blake3).collect();
            for blob in &blobs {
                *named.entry(*blob).or_default() += 1;
            }
            candidates.push(Candidate { used_at: self.layout.used_at(&id)?, id, blobs });
        }
        Ok((candidates, named))
    }

    fn blob_sizes(&self) -> Result<HashMap<Digest32, u64>, StoreError> {
        self.layout
            .blobs()?
            .into_iter()
            .map(|blob| Ok((blob, self.layout.blob_size(&blob)?.unwrap_or(0))))
            .collect()
    }

    /// Removes what belongs to nothing beside the blobs: hashes of blobs that are gone, pins of artifacts that are
    /// gone, and downloads that were given up.
    pub(crate) fn collect_leftovers(&self, now: SystemTime) -> Result<(), StoreError> {
        for blob in self.layout.outboards()? {
            if self.layout.blob_size(&blob)?.is_none() {
                self.layout.remove_outboard(&blob)?;
            }
        }
        let artifacts = self.layout.artifacts()?;
        for (id, reason) in self.layout.pins()? {
            if !artifacts.contains(&id) {
                self.layout.remove_pin(&id, reason)?;
            }
        }
        let mut downloads = HashMap::new();
        for (blob, size, changed) in self.layout.partials()? {
            let latest = downloads.entry((blob, size)).or_insert(changed);
            *latest = changed.max(*latest);
        }
        for ((blob, size), changed) in downloads {
            let is_old = now.duration_since(changed).is_ok_and(|age| age > PARTIAL_AGE_MAX);
            if is_old && !self.downloads.is_open(&blob, size) {
                self.layout.remove_partial(&blob, size)?;
            }
        }
        Ok(())
    }
}
