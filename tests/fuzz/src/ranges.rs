//! A range of an artifact with its hashes, as a holder sends it.

use std::io::{BufReader, Read};
use std::ops::{ControlFlow, Range};
use std::sync::LazyLock;

use assay_manifest::{ArtifactKind, Digest32, Manifest};
use assay_store::{GROUP_BYTES, ReceiveError, Received, Store};
use tempfile::TempDir;

use crate::random::Random;

/// Lengths of the blobs: of one group, of whole groups, and of some whose last is not.
const SIZES: [usize; 5] = [1, 16_384, 16_385, 3 * 16_384, 9 * 16_384 - 77];
/// Bytes of an input before its changes: which blob, the groups that bound the range, how many bytes come at a time, and
/// how many in all.
const HEAD_BYTES: usize = 8;
/// What the holder sends behind the range.
const BEHIND: &[u8] = b"the next answer";

struct World {
    holder: Store,
    sink: Store,
    blobs: Vec<Blob>,
    _dir: TempDir,
}

struct Blob {
    manifest: Manifest,
    name: Digest32,
    bytes: Vec<u8>,
}

/// What should come of a range.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Whole,
    Corrupt,
    CutOff,
}

/// Sound ranges of each blob, in portions of several sizes, one that is cut off, and some with an altered byte.
pub fn seeds() -> Vec<Vec<u8>> {
    let whole = u32::MAX.to_le_bytes();
    let head = |blob: usize, last: u8, portion: u16, cut: [u8; 4]| {
        let [low, high] = portion.to_le_bytes();
        vec![blob as u8, 0, last, low, high, cut[0], cut[1], cut[2]]
    };
    let sound = (0..SIZES.len()).flat_map(|blob| [0, 1_000].map(|portion| head(blob, 255, portion, whole)));
    let altered = (0..16u32).map(|n| {
        let [low, middle, high, _] = (n * 9_001).to_le_bytes();
        [head(4, 255, 20_000 * (n % 2) as u16, whole), vec![low, middle, high, 1]].concat()
    });
    sound.chain([head(4, 3, 20_000, 40_000u32.to_le_bytes())]).chain(altered).collect()
}

/// What is of the blob is kept and nothing else, up to the first item that is damaged or does not come whole; what stands
/// behind the range is left; and with the rest the blob is what it was.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let Some((head, changes)) = data.split_first_chunk::<HEAD_BYTES>() else { return };
    let world = world();
    let [which, first, last, low, high, cut @ ..] = *head;
    let blob = &world.blobs[usize::from(which) % world.blobs.len()];
    let size = blob.bytes.len() as u64;
    let [first, last] = [first, last].map(|group| u64::from(group) % size.div_ceil(GROUP_BYTES));
    let range = first.min(last) * GROUP_BYTES..size.min((first.max(last) + 1) * GROUP_BYTES);
    let sound = world.encoded(blob, range.clone());
    let cut = usize::try_from(cut.iter().rev().fold(0u32, |all, byte| all << 8 | u32::from(*byte)));
    let sent = changed(&sound, changes, cut.expect("three bytes"));

    let partial = world.sink.partial(&blob.name, size).expect("a download");
    let portion = usize::from(u16::from_le_bytes([low, high]));
    let watch = |_| ControlFlow::Continue(());
    let (received, left) = if portion == 0 {
        let mut source = &*sent;
        (partial.receive(range.clone(), &mut source, watch), rest(source))
    } else {
        let mut source = BufReader::with_capacity(portion, &*sent);
        (partial.receive(range.clone(), &mut source, watch), rest(source))
    };
    let came = match received {
        Ok(Received::Whole) => Came::Whole,
        Err(ReceiveError::Corrupt { .. }) => Came::Corrupt,
        Err(ReceiveError::Source { .. }) => Came::CutOff,
        other => panic!("{other:?}"),
    };
    let (expected, end) = expected(blob, &range, &sound, &sent);
    assert_eq!((came, here(&partial.missing(range.clone()), &range)), (expected, end));
    if end == range.end {
        assert_eq!(left, BEHIND, "what stands behind a range is not of it");
    }

    partial.receive(0..size, &*world.encoded(blob, 0..size), watch).expect("sound");
    drop(partial);
    let published = world.sink.publish_download(&blob.manifest, ArtifactKind::Dataset, &mut |_| {});
    assert_eq!(published.expect("all of it is here"), blob.manifest);
    assert_eq!(world.sink.evict(0).expect("nobody reads it").artifacts, [blob.manifest.artifact_id()]);
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let open = |name| Store::open(&dir.path().join(name)).expect("a store");
        let (holder, sink) = (open("holder"), open("sink"));
        let blob = |size: usize| {
            let mut noise = Random::new(size as u64);
            let bytes: Vec<u8> =
                std::iter::repeat_with(|| noise.next().to_le_bytes()[0]).take(size).collect();
            let path = dir.path().join(size.to_string());
            std::fs::write(&path, &bytes).expect("a file");
            let manifest = holder.import(&path, ArtifactKind::Dataset, &mut |_| {}).expect("a dataset");
            Blob { name: manifest.files()[0].blake3, manifest, bytes }
        };
        let blobs = SIZES.into_iter().map(blob).collect();
        Self { holder, sink, blobs, _dir: dir }
    }

    fn encoded(&self, blob: &Blob, range: Range<u64>) -> Vec<u8> {
        let reader = self.holder.reader(&blob.name).expect("an imported blob");
        let (mut encoding, mut bytes) = (reader.encode(range).expect("a range of groups"), Vec::new());
        while let Some(chunk) = encoding.next_chunk(Vec::new()).expect("a sound blob") {
            bytes.extend_from_slice(&chunk);
        }
        bytes
    }
}

fn world() -> &'static World {
    static WORLD: LazyLock<World> = LazyLock::new(World::new);
    &WORLD
}

/// What is sent in place of a sound range: bytes are other where `changes` say so, four bytes each, and only so many come.
fn changed(sound: &[u8], changes: &[u8], cut: usize) -> Vec<u8> {
    let mut sent = sound.to_vec();
    for [low, middle, high, by] in changes.as_chunks().0 {
        let place = u32::from_le_bytes([*low, *middle, *high, 0]) as usize % sent.len();
        sent[place] ^= by;
    }
    if cut < sent.len() {
        sent.truncate(cut);
    } else {
        sent.extend_from_slice(BEHIND);
    }
    sent
}

/// What should come of `sent`, and up to where the blob is kept. Pairs are what stands between groups: the blobs are noise,
/// so that a group is where its bytes are.
fn expected(blob: &Blob, range: &Range<u64>, sound: &[u8], sent: &[u8]) -> (Came, u64) {
    let (mut at, mut kept) = (0, range.start);
    while kept < range.end {
        let end = range.end.min(kept + GROUP_BYTES);
        let group = &blob.bytes[kept as usize..end as usize];
        while !sound[at..].starts_with(group) {
            match item(sound, sent, at..at + 64) {
                Came::Whole => at += 64,
                other => return (other, kept),
            }
        }
        match item(sound, sent, at..at + group.len()) {
            Came::Whole => (at, kept) = (at + group.len(), end),
            other => return (other, kept),
        }
    }
    (Came::Whole, kept)
}

fn item(sound: &[u8], sent: &[u8], place: Range<usize>) -> Came {
    match sent.get(place.clone()) {
        None => Came::CutOff,
        Some(bytes) if *bytes == sound[place] => Came::Whole,
        Some(_) => Came::Corrupt,
    }
}

/// Up to where a range is here, when the rest of it is missing.
fn here(missing: &[Range<u64>], range: &Range<u64>) -> u64 {
    match missing {
        [] => range.end,
        [rest] if rest.end == range.end => rest.start,
        other => panic!("{other:?} are missing of {range:?}"),
    }
}

fn rest(mut source: impl Read) -> Vec<u8> {
    let mut left = Vec::new();
    source.read_to_end(&mut left).expect("bytes in memory");
    left
}
