//! The bytes of a file as candle reads them.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;

use assay_engine::WeightSource;

/// Pieces of a file that are read as if they stood together behind its end: candle reads every tensor in one go.
pub(crate) struct Joints {
    /// Where the next piece seems to begin.
    end: u64,
    /// Where pieces seem to begin, and where they are.
    pieces: Vec<(u64, Range<u64>)>,
}

impl Joints {
    /// None yet, behind a file of so many bytes.
    pub const fn behind(size_bytes: u64) -> Self {
        Self { end: size_bytes, pieces: Vec::new() }
    }

    /// Where these ranges of the file begin when they are read together. They lie within the file, and their sum with
    /// its size is no larger than any.
    pub fn join(&mut self, ranges: impl Iterator<Item = Range<u64>>) -> u64 {
        let begin = self.end;
        for range in ranges {
            let at = self.end;
            self.end = at.saturating_add(range.end - range.start);
            self.pieces.push((at, range));
        }
        begin
    }

    /// Where the byte that seems to stand at `at` is, and how many follow it there.
    fn find(&self, at: u64) -> Option<Range<u64>> {
        let (begin, range) = self.pieces.iter().rev().find(|(begin, _)| *begin <= at)?;
        let start = range.start + (at - begin);
        (start < range.end).then_some(start..range.end)
    }
}

/// Reads a source and what is joined behind it, and counts what was read.
pub(crate) struct Reader<'a> {
    source: &'a dyn WeightSource,
    joints: Joints,
    at: u64,
    read_bytes: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a> Reader<'a> {
    /// At the beginning; `progress` hears of bytes read.
    pub fn new(source: &'a dyn WeightSource, joints: Joints, progress: &'a mut dyn FnMut(u64)) -> Self {
        Self { source, joints, at: 0, read_bytes: 0, progress }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.at..self.source.size_bytes();
        let there = if file.is_empty() { self.joints.find(self.at) } else { Some(file) };
        let Some(there) = there else { return Ok(0) };
        let left = usize::try_from(there.end - there.start).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        self.source.read_at(there.start, &mut buffer[..count])?;
        self.at += count as u64;
        self.read_bytes += count as u64;
        (self.progress)(self.read_bytes);
        Ok(count)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.joints.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_as_one_behind_the_file() {
        let (source, mut heard) = ((0..10).collect::<Vec<u8>>(), Vec::new());
        let mut joints = Joints::behind(10);
        assert_eq!(joints.join([7..9, 1..4].into_iter()), 10);
        assert_eq!(joints.join(std::iter::once(5..6)), 15);
        let mut count = |bytes| heard.push(bytes);
        let mut reader = Reader::new(&source, joints, &mut count);
        let mut read = |from, len| {
            let mut bytes = vec![0; len];
            reader.seek(from).and_then(|_| reader.read_exact(&mut bytes)).map(|()| bytes)
        };
        assert_eq!(read(SeekFrom::Start(8), 2).unwrap(), [8, 9]);
        assert_eq!(read(SeekFrom::Start(9), 3).unwrap(), [9, 7, 8]);
        assert_eq!(read(SeekFrom::Current(0), 3).unwrap(), [1, 2, 3]);
        assert_eq!(read(SeekFrom::End(-2), 2).unwrap(), [3, 5]);
        assert_eq!(read(SeekFrom::Start(16), 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(read(SeekFrom::Start(u64::MAX), 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert!(read(SeekFrom::End(-17), 1).is_err());
        assert_eq!(heard, [2, 3, 5, 8, 9, 10]);
    }
}
