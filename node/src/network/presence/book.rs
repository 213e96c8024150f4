//! The book of who is where. No clock: every call is told the height.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use assay_protocol::announcement::{Announcement, Announcer, SignedAnnouncement};
use assay_protocol::party::AccountBytes;
use libp2p::{Multiaddr, PeerId};

/// Blocks after which an announcement no longer counts: ten were missed by then.
pub const LIFETIME_BLOCKS: u32 = 600;
/// Blocks that an announcement may be ahead of this node, which may be catching up.
const AHEAD_BLOCKS_MAX: u32 = 600;
/// Entries at the most; far above the providers and validators of any ledger so far.
const ENTRIES_MAX: usize = 16_384;

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub peer: PeerId,
    /// Where it is reached.
    pub addresses: Vec<Multiaddr>,
}

impl Place {
    /// That of an announcement, if it names one.
    pub fn of(announcement: &Announcement) -> Option<Self> {
        let peer = PeerId::from_bytes(&announcement.peer).ok()?;
        let parsed = announcement.addresses.iter().map(|bytes| Multiaddr::try_from(bytes.to_vec()).ok());
        Some(Self { peer, addresses: parsed.collect::<Option<_>>()? })
    }
}

/// What to do with an announcement before its signature is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It may be news.
    Fresh,
    /// As new an announcement is here.
    Known,
    /// Too old, or from a height that this node knows nothing of.
    OutOfTime,
}

#[derive(Clone, Debug)]
struct Entry {
    signed: SignedAnnouncement,
    place: Place,
}

impl Entry {
    const fn height(&self) -> u32 {
        self.signed.announcement.height.get()
    }
}

/// The newest announcement of everybody.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<Announcer, Entry>,
}

impl Book {
    /// Whether an announcement is worth looking at.
    pub fn weigh(&self, announcement: &Announcement, height: u32) -> News {
        let made = announcement.height.get();
        let is_old = made.saturating_add(LIFETIME_BLOCKS) < height;
        if is_old || made > height.saturating_add(AHEAD_BLOCKS_MAX) {
            return News::OutOfTime;
        }
        match self.entries.get(&announcement.announcer) {
            Some(entry) if entry.height() >= made => News::Known,
            None if self.entries.len() >= ENTRIES_MAX => News::OutOfTime,
            _ => News::Fresh,
        }
    }

    /// Takes over an announcement that was checked; one that is older than what is here changes nothing.
    pub fn insert(&mut self, signed: SignedAnnouncement, place: Place) {
        let announcer = signed.announcement.announcer;
        let entry = Entry { signed, place };
        let is_newer = |there: &Entry| there.height() < entry.height();
        if self.entries.get(&announcer).is_none_or(is_newer) {
            self.entries.insert(announcer, entry);
        }
    }

    /// Where a party of a job is found, by the bytes that name it in envelopes.
    pub fn find(&self, party: &AccountBytes) -> Option<&Place> {
        let provider = self.entries.get(&Announcer::Provider(*party));
        let validator =
            || self.entries.get(&Announcer::Validator(assay_manifest::Digest32::from_bytes(*party)));
        provider.or_else(validator).map(|entry| &entry.place)
    }

    /// Up to `limit` announcements, the newest first.
    pub fn newest(&self, limit: usize) -> Vec<SignedAnnouncement> {
        let mut entries: Vec<_> = self.entries.values().collect();
        entries.sort_by_key(|entry| u32::MAX - entry.height());
        entries.into_iter().take(limit).map(|entry| entry.signed.clone()).collect()
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, height: u32) {
        self.entries.retain(|_, entry| entry.height().saturating_add(LIFETIME_BLOCKS) >= height);
    }
}

/// A book that services read while another writes it.
#[derive(Clone, Debug, Default)]
pub struct SharedBook(Arc<RwLock<Book>>);

impl SharedBook {
    /// Where a party of a job is found, by the bytes that name it in envelopes.
    pub fn find(&self, party: &AccountBytes) -> Option<Place> {
        self.read(|book| book.find(party).cloned())
    }

    /// How many announcements it holds.
    pub fn entries(&self) -> usize {
        self.read(|book| book.entries.len())
    }

    pub(in crate::network) fn read<T>(&self, read: impl FnOnce(&Book) -> T) -> T {
        // No write can be cut short in the middle: what a panic leaves behind is whole.
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn write(&self, write: impl FnOnce(&mut Book)) {
        write(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
pub mod tests {
    use assay_manifest::Digest32;
    use assay_protocol::announcement::Capacity;
    use assay_protocol::signature::Signature;
    use assay_protocol::units::Height;

    use super::*;

    pub fn signed(party: u8, peer: PeerId, height: u32) -> SignedAnnouncement {
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let announcement = Announcement {
            genesis: Digest32::ZERO,
            announcer: Announcer::Provider([party; 32]),
            peer: peer.to_bytes().try_into().unwrap(),
            addresses: vec![address.to_vec().try_into().unwrap()].try_into().unwrap(),
            capacity: Capacity::default(),
            height: Height::new(height),
        };
        SignedAnnouncement { announcement, signature: Signature([0; 64]) }
    }

    fn insert(book: &mut Book, signed: &SignedAnnouncement) {
        book.insert(signed.clone(), Place::of(&signed.announcement).unwrap());
    }

    #[test]
    fn the_newest_announcement_counts() {
        let [old, new] = [PeerId::random(), PeerId::random()];
        let mut book = Book::default();
        insert(&mut book, &signed(1, new, 20));
        insert(&mut book, &signed(1, old, 10));
        assert_eq!(book.find(&[1; 32]).unwrap().peer, new);
        for (height, expected) in [(10, News::Known), (20, News::Known), (21, News::Fresh)] {
            assert_eq!(book.weigh(&signed(1, old, height).announcement, 20), expected);
        }
        assert_eq!(book.find(&[2; 32]), None);
    }

    #[test]
    fn what_is_old_is_neither_taken_nor_kept() {
        let (mut book, peer) = (Book::default(), PeerId::random());
        insert(&mut book, &signed(1, peer, 10));
        book.expire(10 + LIFETIME_BLOCKS);
        assert!(book.find(&[1; 32]).is_some());
        book.expire(11 + LIFETIME_BLOCKS);
        assert!(book.find(&[1; 32]).is_none());
        let late = &signed(1, peer, 10).announcement;
        assert_eq!(book.weigh(late, 11 + LIFETIME_BLOCKS), News::OutOfTime);
        let early = &signed(1, peer, 1_000).announcement;
        assert_eq!(book.weigh(early, 1_000 - AHEAD_BLOCKS_MAX - 1), News::OutOfTime);
    }

    #[test]
    fn an_announcement_that_names_no_peer_names_no_place() {
        let mut bad = signed(1, PeerId::random(), 1).announcement;
        bad.peer = vec![1, 2, 3].try_into().unwrap();
        assert_eq!(Place::of(&bad), None);
        let mut bad = signed(1, PeerId::random(), 1).announcement;
        bad.addresses = vec![vec![0xff; 9].try_into().unwrap()].try_into().unwrap();
        assert_eq!(Place::of(&bad), None);
    }

    #[test]
    fn a_newcomer_is_told_the_newest_first() {
        let (mut book, peer) = (Book::default(), PeerId::random());
        for (party, height) in [(1, 10), (2, 30), (3, 20)] {
            insert(&mut book, &signed(party, peer, height));
        }
        let heights: Vec<_> = book.newest(2).iter().map(|signed| signed.announcement.height.get()).collect();
        assert_eq!(heights, vec![30, 20]);
    }
}
