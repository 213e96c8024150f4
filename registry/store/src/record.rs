//! Which ranges of a download were verified, in a file that a crash leaves readable.
//!
//! Entries of 32 bytes are appended: a *claim* of a range that was verified and written, or a *mark* that the first
//! so many entries, and the bytes that they claim, were synced to the disk. A claim is written at once, so that the
//! death of the process forgets nothing; a claim behind the last mark may have reached the disk before its bytes,
//! so whoever opens the record verifies that range again. An entry that was cut off ends the record.

use assay_manifest::Digest32;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

/// kind ‖ a ‖ b ‖ checksum, eight bytes each.
const ENTRY_BYTES: usize = 32;
const CLAIM: u64 = 1;
const MARK: u64 = 2;

/// An open record, at its end.
#[derive(Debug)]
pub(crate) struct Record {
    file: File,
    blob: Digest32,
    /// Entries in the file.
    entries: u64,
    /// Of these, how many the last mark covers.
    marked: u64,
}

/// What a record says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Ranges whose bytes were synced.
    pub(crate) durable: Vec<Range<u64>>,
    /// Ranges whose bytes must be verified again.
    pub(crate) doubtful: Vec<Range<u64>>,
}

impl Record {
    /// Reads a record and goes on behind its last whole entry.
    pub(crate) fn open(mut file: File, blob: &Digest32) -> io::Result<(Self, Claims)> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let Parsed { claims, entries, marked } = parse(&bytes, blob);
        let mut record = Self { file, blob: *blob, entries, marked };
        record.cut(entries)?;
        Ok((record, claims))
    }

    /// Appends that a range was verified and written.
    pub(crate) fn claim(&mut self, range: &Range<u64>) -> io::Result<()> {
        self.append(CLAIM, range.start, range.end)
    }

    /// Entries so far, for [`Self::mark`].
    pub(crate) const fn entries(&self) -> u64 {
        self.entries
    }

    /// Appends that what the first `entries` entries claim is synced.
    pub(crate) fn mark(&mut self, entries: u64) -> io::Result<()> {
        self.append(MARK, entries, 0)?;
        self.marked = self.marked.max(entries);
        Ok(())
    }

    /// Takes back all that the last mark does not cover.
    pub(crate) fn cut_to_mark(&mut self) -> io::Result<()> {
        self.cut(self.marked)?;
        // The mark stood behind what it covers.
        self.append(MARK, self.marked, 0)
    }

    fn cut(&mut self, entries: u64) -> io::Result<()> {
        let end = entries * ENTRY_BYTES as u64;
        self.file.set_len(end)?;
        self.file.seek(SeekFrom::Start(end))?;
        self.entries = entries;
        Ok(())
    }

    fn append(&mut self, kind: u64, a: u64, b: u64) -> io::Result<()> {
        self.file.write_all(&entry(&self.blob, [kind, a, b]))?;
        self.entries += 1;
        Ok(())
    }
}

fn entry(blob: &Digest32, words: [u64; 3]) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    let (content, sum) = bytes.split_at_mut(ENTRY_BYTES - 8);
    for (place, word) in content.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    sum.copy_from_slice(&checksum(blob, content));
    bytes
}

fn checksum(blob: &Digest32, content: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    blake3::Hasher::new_keyed(blob.as_bytes()).update(content).finalize_xof().fill(&mut sum);
    sum
}

/// What whole entries say.
struct Parsed {
    claims: Claims,
    /// How many there are.
    entries: u64,
    /// How many the last mark covers.
    marked: u64,
}

/// Reads whole entries. Foreign bytes are an empty record.
fn parse(bytes: &[u8], blob: &Digest32) -> Parsed {
    let (mut ranges, mut marked, mut entries) = (Vec::new(), 0, 0u64);
    for bytes in bytes.as_chunks::<ENTRY_BYTES>().0 {
        let (content, sum) = bytes.split_at(ENTRY_BYTES - 8);
        if sum != checksum(blob, content) {
            break;
        }
        let words = content.as_chunks::<8>().0;
        let [kind, a, b] = [0, 1, 2].map(|i| words.get(i).map_or(0, |word| u64::from_le_bytes(*word)));
        match kind {
            CLAIM if a < b => ranges.push((entries, a..b)),
            MARK if a <= entries => marked = marked.max(a),
            _ => break,
        }
        entries += 1;
    }
    let (sure, doubtful) = ranges.into_iter().partition::<Vec<_>, _>(|(at, _)| *at < marked);
    let ranges = |of: Vec<(u64, Range<u64>)>| of.into_iter().map(|(_, range)| range).collect();
    Parsed { claims: Claims { durable: ranges(sure), doubtful: ranges(doubtful) }, entries, marked }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob() -> Digest32 {
        Digest32::from_bytes([3; 32])
    }

    fn only(range: Range<u64>) -> Vec<Range<u64>> {
        std::iter::once(range).collect()
    }

    fn sample() -> Vec<u8> {
        [[CLAIM, 0, 10], [CLAIM, 20, 30], [MARK, 2, 0], [CLAIM, 40, 50]]
            .iter()
            .flat_map(|words| entry(&blob(), *words))
            .collect()
    }

    #[test]
    fn claims_before_a_mark_are_sure_and_those_behind_it_are_not() {
        let Parsed { claims, entries, .. } = parse(&sample(), &blob());
        assert_eq!(claims, Claims { durable: vec![0..10, 20..30], doubtful: only(40..50) });
        assert_eq!(entries, 4);
    }

    #[test]
    fn an_entry_that_is_cut_off_or_damaged_ends_the_record() {
        let bytes = sample();
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end], &blob()).entries, (end / ENTRY_BYTES) as u64);
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert_eq!(parse(&damaged, &blob()).entries, (at / ENTRY_BYTES) as u64, "byte {at}");
        }
        assert_eq!(parse(&bytes, &Digest32::ZERO).entries, 0, "another blob's record says nothing");
    }

    #[test]
    fn a_mark_of_more_than_there_is_ends_the_record() {
        let bytes = [entry(&blob(), [CLAIM, 0, 10]), entry(&blob(), [MARK, 2, 0])].concat();
        let Parsed { claims, entries, .. } = parse(&bytes, &blob());
        assert_eq!((claims.durable.len(), claims.doubtful.len(), entries), (0, 1, 1));
    }

    #[test]
    fn an_opened_record_goes_on_behind_its_last_whole_entry() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        std::fs::write(&path, &sample()[..100]).unwrap();
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let (mut record, claims) = Record::open(open(), &blob()).unwrap();
        assert_eq!((claims.durable.len(), record.entries()), (2, 3));
        record.claim(&(60..70)).unwrap();
        let (record, claims) = Record::open(open(), &blob()).unwrap();
        assert_eq!((claims.doubtful, record.entries()), (only(60..70), 4));
    }
    #[test]
    fn what_no_mark_covers_can_be_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        std::fs::write(&path, sample()).unwrap();
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let (mut record, _) = Record::open(open(), &blob()).unwrap();
        record.cut_to_mark().unwrap();
        record.claim(&(60..70)).unwrap();
        let (_, claims) = Record::open(open(), &blob()).unwrap();
        assert_eq!(claims, Claims { durable: vec![0..10, 20..30], doubtful: only(60..70) });
        let (mut unmarked, _) = Record::open(tempfile::tempfile().unwrap(), &blob()).unwrap();
        unmarked.claim(&(0..10)).unwrap();
        unmarked.cut_to_mark().unwrap();
        assert_eq!(unmarked.entries(), 1, "a mark of nothing");
    }
}
