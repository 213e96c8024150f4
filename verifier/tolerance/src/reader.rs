//! The bytes of a file as candle reads them.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use assay_engine::WeightSource;

/// Reads a source from anywhere, and counts what was read.
pub(crate) struct Reader<'a> {
    source: &'a dyn WeightSource,
    at: u64,
    read_bytes: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a> Reader<'a> {
    /// From the first byte on; `progress` hears of bytes read.
    pub fn new(source: &'a dyn WeightSource, progress: &'a mut dyn FnMut(u64)) -> Self {
        Self { source, at: 0, read_bytes: 0, progress }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.size_bytes().saturating_sub(self.at);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if count == 0 {
            return Ok(0);
        }
        self.source.read_at(self.at, &mut buffer[..count])?;
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
            SeekFrom::End(by) => self.source.size_bytes().checked_add_signed(by),
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
    fn what_is_read_is_counted_and_what_lies_outside_refused() {
        let (source, mut heard) = (vec![1, 2, 3, 4, 5], Vec::new());
        let mut count = |bytes| heard.push(bytes);
        let mut reader = Reader::new(&source, &mut count);
        let mut two = [0; 2];
        reader.seek(SeekFrom::End(-2)).unwrap();
        reader.read_exact(&mut two).unwrap();
        assert_eq!(two, [4, 5]);
        assert_eq!(reader.seek(SeekFrom::Current(-4)).unwrap(), 1);
        reader.read_exact(&mut two).unwrap();
        assert_eq!(two, [2, 3]);
        assert!(reader.seek(SeekFrom::Current(-4)).is_err());
        reader.seek(SeekFrom::Start(u64::MAX)).unwrap();
        assert_eq!(reader.read(&mut two).unwrap(), 0);
        assert_eq!(heard, [2, 4]);
    }
}
