//! The bytes of a file as candle reads them.

use std::io::{self, Read, Seek, SeekFrom};

use assay_engine::WeightSource;
use assay_engine::source::SourceReader;

/// Reads a source, and counts what was read of it.
pub(crate) struct Reader<'a> {
    source: SourceReader<'a>,
    read_bytes: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a> Reader<'a> {
    /// Of no byte yet; `progress` hears of bytes read.
    pub fn new(source: &'a dyn WeightSource, progress: &'a mut dyn FnMut(u64)) -> Self {
        Self { source: SourceReader::new(source), read_bytes: 0, progress }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.read_bytes += count as u64;
        (self.progress)(self.read_bytes);
        Ok(count)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}
