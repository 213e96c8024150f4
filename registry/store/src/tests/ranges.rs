//! Reading ranges, and receiving them.

use super::*;
use std::io;
use std::ops::{ControlFlow, Range};

/// Lengths around groups and around powers of two of groups, which the shape of the tree depends on.
const SIZES: [usize; 7] =
    [1, 16_384, 16_385, 3 * 16_384, (1 << 20) - 1, (1 << 20) + 77, (3 << 20) + (16 << 10)];

/// A store with one blob of noise.
pub(super) fn with_blob(fixture: &Fixture, size: usize) -> (Store, Digest32, Vec<u8>) {
    let bytes = noise(size, 7);
    let store = fixture.open();
    let manifest = import_dataset(&store, &fixture.write("blob", &bytes)).unwrap();
    (store, manifest.files()[0].blake3, bytes)
}

pub(super) fn encoded(store: &Store, blob: &Digest32, range: Range<u64>) -> Vec<u8> {
    encode(&store.reader(blob).unwrap(), range).unwrap()
}

/// A range as it is sent.
pub(super) fn encode(reader: &BlobReader, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
    let (mut encoding, mut spare, mut bytes) = (reader.encode(range)?, vec![7; 1_000], Vec::new());
    while let Some(chunk) = encoding.next_chunk(spare)? {
        bytes.extend_from_slice(&chunk);
        spare = chunk;
    }
    Ok(bytes)
}

pub(super) fn go_on(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(super) fn only(range: Range<u64>) -> Vec<Range<u64>> {
    std::iter::once(range).collect()
}

/// Ranges of a few groups that cover a blob.
pub(super) fn pieces(size: u64) -> Vec<Range<u64>> {
    let step = 5 * GROUP_BYTES;
    (0..size.div_ceil(step)).map(|i| i * step..((i + 1) * step).min(size)).collect()
}

#[test]
fn a_blob_arrives_in_ranges_of_any_order() {
    for size in SIZES {
        let (here, there) = (Fixture::new(), Fixture::new());
        let (store, blob, bytes) = with_blob(&here, size);
        let other = there.open();
        let partial = other.partial(&blob, size as u64).unwrap();
        for range in pieces(size as u64).into_iter().rev() {
            let encoded = encoded(&store, &blob, range.clone());
            let received = partial.receive(range, encoded.as_slice(), go_on).unwrap();
            assert_eq!(received, Received::Whole);
        }
        assert_eq!(partial.missing_bytes(), 0, "{size}");
        let data =
            fs::read_dir(there.store_dir().join("partial")).unwrap().map(|entry| entry.unwrap().path());
        let data =
            data.filter(|path| path.extension().unwrap() == "data").map(|path| fs::read(path).unwrap());
        assert_eq!(data.collect::<Vec<_>>(), [bytes]);
    }
}

#[test]
fn ranges_that_cut_groups_or_leave_the_blob_are_refused() {
    let fixture = Fixture::new();
    let size = 40_000;
    let (store, blob, _) = with_blob(&fixture, size as usize);
    let (reader, partial) = (store.reader(&blob).unwrap(), store.partial(&blob, size).unwrap());
    let (inverted, empty) = (Range { start: 16_384, end: 0 }, 16_384..16_384);
    for range in [0..1, 1..16_384, 0..39_999, 0..40_001, 49_152..65_536, empty, inverted] {
        let refused = reader.encode(range.clone());
        assert!(matches!(refused, Err(StoreError::BadRange { .. })), "{range:?}");
        let refused = partial.receive(range.clone(), io::empty(), go_on);
        assert!(matches!(refused, Err(ReceiveError::Store(StoreError::BadRange { .. }))), "{range:?}");
    }
    for range in [0..16_384, 16_384..40_000, 0..40_000, 32_768..40_000] {
        encode(&reader, range).unwrap();
    }
    assert!(matches!(store.partial(&blob, BLOB_BYTES_MAX + 1), Err(StoreError::TooLarge { .. })));
}

#[test]
fn a_damaged_range_is_found_when_it_is_read_and_the_others_are_read_all_the_same() {
    let fixture = Fixture::new();
    let (store, blob, mut bytes) = with_blob(&fixture, 10 * 16_384);
    store.reader(&blob).unwrap();
    bytes[5 * 16_384 + 9] ^= 1;
    fs::write(only_file(&fixture.store_dir().join("blobs")), bytes).unwrap();
    let reader = store.reader(&blob).unwrap();
    let refused = encode(&reader, 4 * 16_384..8 * 16_384);
    let expected = 5 * 16_384;
    assert!(matches!(refused, Err(StoreError::CorruptRange { at, .. }) if at == expected), "{refused:?}");
    let mut range = reader.encode(4 * 16_384..10 * 16_384).unwrap();
    assert!(range.next_chunk(Vec::new()).is_err());
    assert_eq!(
        range.next_chunk(Vec::new()).unwrap(),
        None,
        "what is behind it is not passed off as next to it"
    );
    encode(&reader, 0..4 * 16_384).unwrap();
    encode(&reader, 8 * 16_384..10 * 16_384).unwrap();
}

#[test]
fn a_blob_that_is_damaged_before_its_hashes_are_made_has_none() {
    let fixture = Fixture::new();
    let (store, blob, mut bytes) = with_blob(&fixture, 100_000);
    bytes[0] ^= 1;
    fs::write(only_file(&fixture.store_dir().join("blobs")), bytes).unwrap();
    assert!(matches!(store.reader(&blob), Err(StoreError::CorruptBlob { .. })));
    assert_eq!(files_below(&fixture.store_dir().join("outboards")), 0);
}

#[test]
fn lost_and_damaged_hashes_are_made_anew() {
    let fixture = Fixture::new();
    let size = 10 * 16_384;
    let (store, blob, _) = with_blob(&fixture, size as usize);
    let whole = encoded(&store, &blob, 0..size);
    let path = only_file(&fixture.store_dir().join("outboards"));
    let sound = fs::read(&path).unwrap();
    fs::write(&path, &sound[1..]).unwrap();
    assert_eq!(encoded(&store, &blob, 0..size), whole, "too short");
    fs::remove_file(&path).unwrap();
    assert_eq!(encoded(&store, &blob, 0..size), whole, "gone");
    let mut damaged = sound;
    damaged[100] ^= 1;
    fs::write(&path, damaged).unwrap();
    let refused = encode(&store.reader(&blob).unwrap(), 0..size);
    assert!(matches!(refused, Err(StoreError::CorruptOutboard(_))), "{refused:?}");
    assert_eq!(encoded(&store, &blob, 0..size), whole, "damaged");
}

#[test]
fn a_corrupted_stream_is_refused_where_it_is_wrong_and_what_came_before_counts() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let size = 8 * 16_384;
    let (store, blob, _) = with_blob(&here, size as usize);
    let other = there.open();
    let sound = encoded(&store, &blob, 0..size);
    // The last byte is of the last group: seven came before it.
    let mut last = sound.clone();
    *last.last_mut().unwrap() ^= 1;
    let partial = other.partial(&blob, size).unwrap();
    let refused = partial.receive(0..size, last.as_slice(), go_on);
    assert!(matches!(refused, Err(ReceiveError::Corrupt { at, .. }) if at == 7 * 16_384), "{refused:?}");
    assert_eq!(partial.missing(0..size), only(7 * 16_384..size));
    // A wrong hash at the top lets nothing in.
    let mut first = sound.clone();
    first[0] ^= 1;
    let other = Fixture::new();
    let fresh = other.open();
    let partial = fresh.partial(&blob, size).unwrap();
    assert!(matches!(partial.receive(0..size, first.as_slice(), go_on), Err(ReceiveError::Corrupt { .. })));
    assert_eq!(partial.missing_bytes(), size);
    for end in [0, 10, 64, 1_000, sound.len() - 1] {
        let refused = partial.receive(0..size, &sound[..end], go_on);
        assert!(matches!(refused, Err(ReceiveError::Source { .. })), "{end}");
    }
}

#[test]
fn whoever_watches_can_stop_after_a_group() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let size = 8 * 16_384;
    let (store, blob, _) = with_blob(&here, size as usize);
    let other = there.open();
    let partial = other.partial(&blob, size).unwrap();
    let stop = |end| if end >= 3 * 16_384 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let received = partial.receive(0..size, encoded(&store, &blob, 0..size).as_slice(), stop).unwrap();
    assert_eq!(received, Received::Stopped);
    assert_eq!(partial.missing(0..size), only(3 * 16_384..size));
}

#[test]
fn a_download_that_is_opened_again_has_what_was_verified_and_doubts_what_was_not_synced() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let size = 8 * 16_384;
    let (store, blob, _) = with_blob(&here, size as usize);
    let receive = |store: &Store, from: &Store, range: Range<u64>| {
        let bytes = encoded(from, &blob, range.clone());
        store.partial(&blob, size).unwrap().receive(range, bytes.as_slice(), go_on).unwrap();
    };
    let other = there.open();
    receive(&other, &store, 0..2 * 16_384);
    other.partial(&blob, size).unwrap().sync().unwrap();
    receive(&other, &store, 4 * 16_384..6 * 16_384);
    let reopened = other.partial(&blob, size).unwrap();
    assert_eq!(reopened.missing(0..size), [2 * 16_384..4 * 16_384, 6 * 16_384..size]);
    drop(reopened);
    // A power cut may keep the record and lose bytes that were not synced.
    let mut data =
        fs::read_dir(there.store_dir().join("partial")).unwrap().map(|entry| entry.unwrap().path());
    let data = data.find(|path| path.extension().unwrap() == "data").unwrap();
    let mut bytes = fs::read(&data).unwrap();
    bytes[5 * 16_384] ^= 1;
    fs::write(&data, bytes).unwrap();
    let reopened = other.partial(&blob, size).unwrap();
    assert_eq!(reopened.missing(0..size), only(2 * 16_384..size));
    // To sync makes nothing last that was found wrong.
    reopened.sync().unwrap();
    drop(reopened);
    let reopened = other.partial(&blob, size).unwrap();
    assert_eq!(reopened.missing(0..size), only(2 * 16_384..size));
    drop(reopened);
    // Without its content a record claims nothing.
    fs::remove_file(&data).unwrap();
    assert_eq!(other.partial(&blob, size).unwrap().missing_bytes(), size);
}

#[test]
fn a_wrong_length_has_a_download_of_its_own() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let size = 8 * 16_384;
    let (store, blob, _) = with_blob(&here, size as usize);
    let other = there.open();
    let bytes = encoded(&store, &blob, 0..size);
    other.partial(&blob, size).unwrap().receive(0..size, bytes.as_slice(), go_on).unwrap();
    let wrong = other.partial(&blob, size + 1).unwrap();
    assert!(wrong.receive(0..size + 1, bytes.as_slice(), go_on).is_err());
    assert_eq!(other.partial(&blob, size).unwrap().missing_bytes(), 0);
}

#[test]
fn what_a_failed_sync_was_for_is_fetched_again_and_not_found_in_memory() {
    use std::sync::atomic::Ordering;
    let (here, there) = (Fixture::new(), Fixture::new());
    let size = 8 * 16_384;
    let (store, blob, _) = with_blob(&here, size as usize);
    let other = there.open();
    let partial = other.partial(&blob, size).unwrap();
    let receive = |range: Range<u64>| {
        let bytes = encoded(&store, &blob, range.clone());
        partial.receive(range, bytes.as_slice(), go_on)
    };
    receive(0..2 * 16_384).unwrap();
    partial.sync().unwrap();
    receive(2 * 16_384..4 * 16_384).unwrap();
    partial.syncs_fail.store(true, Ordering::Relaxed);
    assert!(matches!(partial.sync(), Err(StoreError::Io { doing: "syncing", .. })));
    assert_eq!(partial.missing(0..size), only(2 * 16_384..size));
    // What was written before the failure and is claimed after it is as doubtful.
    partial.syncs_fail.store(false, Ordering::Relaxed);
    let bytes = encoded(&store, &blob, 4 * 16_384..6 * 16_384);
    let fails_meanwhile = |_| {
        partial.syncs_fail.store(true, Ordering::Relaxed);
        partial.sync().unwrap_err();
        partial.syncs_fail.store(false, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    let refused = partial.receive(4 * 16_384..6 * 16_384, bytes.as_slice(), fails_meanwhile);
    assert!(matches!(refused, Err(ReceiveError::Store(StoreError::Io { .. }))), "{refused:?}");
    receive(6 * 16_384..size).unwrap();
    partial.sync().unwrap();
    let missing = only(2 * 16_384..6 * 16_384);
    assert_eq!(partial.missing(0..size), missing);
    drop(partial);
    assert_eq!(other.partial(&blob, size).unwrap().missing(0..size), missing, "its record says the same");
}
