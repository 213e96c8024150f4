//! One fetch: what is known of it, and what those share who bring its parts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use assay_manifest::Digest32;
use assay_store::{GROUP_BYTES, Lease, Partial, Store, StoreError};
use libp2p::PeerId;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::config::FetchConfig;
use super::disk::Disk;
use super::error::Missing;
use super::fetch::{Progress, Stage};
use super::plan::{Flight, Piece, Plan, Take, Terms};
use super::wire::RANGE_BYTES_MAX;

/// Bytes of the shortest piece, where pieces may be longer: time enough for the next to be asked for.
const PIECE_BYTES_MIN: u64 = 1 << 20;
/// Syncs at the same time: the disk is one.
const SYNCS_MAX: usize = 2;
/// A whole blob of so many bytes is synced at once; shorter ones, which may be many, when the artifact is published.
const SYNCED_AT_ONCE_BYTES_MIN: u64 = 16 << 20;

/// One fetch, shared by all who bring something.
pub struct Download {
    pub config: FetchConfig,
    /// Where it is written to.
    pub disk: Arc<Disk>,
    store: Arc<Store>,
    blobs: Vec<(Digest32, u64)>,
    total_bytes: u64,
    plan: Mutex<Plan>,
    /// Told when a holder that waits should ask the plan again.
    changed: Notify,
    /// Syncs that may still begin.
    syncs: Arc<Semaphore>,
    /// What a sync failed with.
    failure: Mutex<Option<StoreError>>,
    /// Blobs of which something came.
    begun: Mutex<HashMap<usize, Begun>>,
    _lease: Lease,
}

/// A blob of which something came.
enum Begun {
    /// It is open.
    Open(Arc<Partial>),
    /// All of it is here, and it was closed. Flights of it may still be under way.
    Whole,
}

/// What a holder is to do.
pub enum Next {
    /// This.
    Piece(Flight),
    /// Nothing ever.
    Nothing,
}

impl Download {
    /// Looks which ranges are missing.
    pub fn new(
        (store, disk): (Arc<Store>, Arc<Disk>),
        config: FetchConfig,
        blobs: Vec<(Digest32, u64)>,
        lease: Lease,
    ) -> Result<Self, StoreError> {
        let mut missing = Vec::new();
        for (blob, (blake3, size)) in blobs.iter().enumerate() {
            missing.extend(store.missing(blake3, *size)?.into_iter().map(|range| Piece { blob, range }));
        }
        let total_bytes = blobs.iter().map(|(_, size)| *size).fold(0, u64::saturating_add);
        // What a holder answers at most, and no part of a group.
        let longest = config.range_bytes.clamp(GROUP_BYTES, RANGE_BYTES_MAX);
        let longest = longest - longest % GROUP_BYTES;
        let FetchConfig { take_over_after, twin_after, .. } = config;
        let terms =
            Terms { piece_bytes: [longest.min(PIECE_BYTES_MIN), longest], take_over_after, twin_after };
        let plan = Mutex::new(Plan::new(missing, terms));
        let (changed, syncs, begun) = (Notify::new(), Arc::new(Semaphore::new(SYNCS_MAX)), Mutex::default());
        let failure = Mutex::default();
        Ok(Self {
            config,
            disk,
            store,
            blobs,
            total_bytes,
            plan,
            changed,
            syncs,
            failure,
            begun,
            _lease: lease,
        })
    }

    /// The next piece for a holder; waits while others may give something back.
    pub async fn next(&self, holder: PeerId) -> Next {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.take(holder) {
                Take::Piece(flight) => return Next::Piece(flight),
                Take::Useless | Take::Done => return Next::Nothing,
                Take::Wait => changed.await,
            }
        }
    }

    /// The next piece for a holder, if there is one now.
    pub fn take(&self, holder: PeerId) -> Take {
        self.plan().take(holder, Instant::now())
    }

    /// Lets holders that wait ask again: time alone may have made something of a flight.
    pub fn nudge(&self) {
        self.changed.notify_waiters();
    }

    /// All that is wanted of a flight has arrived.
    pub fn landed(&self, flight: &Flight) {
        self.plan().landed(flight);
        self.changed.notify_waiters();
    }

    /// A flight has ended early: what is missing of it goes to others.
    pub fn give_back(&self, flight: &Flight) {
        let begun = self.begun();
        let mut plan = self.plan();
        let wanted = flight.wanted();
        let missing = match begun.get(&flight.piece.blob) {
            Some(Begun::Open(partial)) => partial.missing(wanted),
            Some(Begun::Whole) => Vec::new(),
            None => vec![wanted],
        };
        plan.give_back(flight, missing);
        drop((plan, begun));
        self.changed.notify_waiters();
    }

    /// A holder does not have a blob.
    pub fn lacks(&self, holder: PeerId, blob: usize) {
        self.plan().lacks(holder, blob);
    }

    /// The name of a blob.
    pub fn blake3(&self, blob: usize) -> Digest32 {
        self.blobs.get(blob).map_or(Digest32::ZERO, |(blake3, _)| *blake3)
    }

    /// A blob that is being received.
    pub fn opened(&self, blob: usize) -> Option<Arc<Partial>> {
        match self.begun().get(&blob) {
            Some(Begun::Open(partial)) => Some(Arc::clone(partial)),
            Some(Begun::Whole) | None => None,
        }
    }

    /// Opens a blob to be received; it stays open until it is whole. Blocks.
    pub fn partial(&self, blob: usize) -> Result<Arc<Partial>, StoreError> {
        if let Some(partial) = self.opened(blob) {
            return Ok(partial);
        }
        let (blake3, size) = self.blobs.get(blob).copied().unwrap_or_default();
        // Two that come here at the same time get the same one.
        let partial = self.store.partial(&blake3, size)?;
        self.begun().entry(blob).or_insert_with(|| Begun::Open(Arc::clone(&partial)));
        Ok(partial)
    }

    /// Has a thread of its own sync a blob when that is due, so that receiving goes on meanwhile, and closes one that
    /// is whole, so that few are open at a time. Called on a thread of the runtime.
    pub fn settle(self: &Arc<Self>, blob: usize, partial: &Arc<Partial>) {
        let is_whole = partial.missing_bytes() == 0;
        if is_whole {
            self.begun().insert(blob, Begun::Whole);
        }
        // Where enough are syncing, what is left unsynced is verified again when the artifact is published.
        let Ok(permit) = Arc::clone(&self.syncs).try_acquire_owned() else { return };
        let is_long = partial.size_bytes() >= SYNCED_AT_ONCE_BYTES_MIN;
        let is_due = (is_whole && is_long) || partial.begin_sync();
        if !is_due {
            return;
        }
        let (partial, download) = (Arc::clone(partial), Arc::clone(self));
        drop(tokio::task::spawn_blocking(move || {
            let _permit = permit;
            if let Err(error) = partial.sync() {
                *download.failure() = Some(error);
            }
        }));
    }

    /// What keeping the bytes failed with, if it did.
    pub fn failed(&self) -> Option<StoreError> {
        self.failure().take()
    }

    fn failure(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it is, with so many holders.
    pub fn progress(&self, holders: usize) -> Progress {
        let done_bytes = self.total_bytes.saturating_sub(self.plan().left_bytes());
        Progress { stage: Stage::Fetching, done_bytes, total_bytes: self.total_bytes, holders }
    }

    /// What is still to come, if anything is.
    pub fn missing(&self) -> Option<Missing> {
        let plan = self.plan();
        let blobs = plan.left_blobs();
        let first = self.blake3(blobs.iter().min().copied()?);
        Some(Missing { bytes: plan.left_bytes(), blobs: blobs.len(), first })
    }

    /// Whether all has arrived.
    pub fn is_done(&self) -> bool {
        self.plan().is_done()
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<usize, Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::tests::world::{Stores, quick};
    use std::ops::ControlFlow;

    #[tokio::test]
    async fn a_flight_of_a_blob_that_is_whole_brings_nothing_back() {
        let stores = Stores::new();
        let (source, sink) = (stores.store("source-store"), stores.store("sink"));
        let manifest = stores.artifact(&source, 100_000);
        let long = manifest.files().iter().find(|file| file.size == 100_000).unwrap();
        let lease = sink.lease(&manifest);
        let blobs = vec![(long.blake3, long.size)];
        let download =
            Arc::new(Download::new((Arc::clone(&sink), Arc::default()), quick(), blobs, lease).unwrap());
        let Take::Piece(flight) = download.take(PeerId::random()) else { panic!("a piece") };
        let reader = source.reader(&long.blake3).unwrap();
        let bytes = reader.encode(0..long.size).unwrap().next_chunk(Vec::new()).unwrap().unwrap();
        let partial = download.partial(0).unwrap();
        partial.receive(0..long.size, bytes.as_slice(), |_| ControlFlow::Continue(())).unwrap();
        download.settle(0, &partial);
        // The stream ended before anybody heard that the piece came.
        download.give_back(&flight);
        assert!(download.is_done(), "{:?}", download.missing());
    }
}
