//! Where the bytes of a model file come from.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::sync::Arc;

/// The bytes of one GGUF file. Whoever keeps files implements it; the engine opens none.
pub trait WeightSource: Sync {
    /// Length of the file in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// When they cannot be read, or the file ends before the buffer is full.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl WeightSource for [u8] {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(self.get(start..end).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl WeightSource for Vec<u8> {
    fn size_bytes(&self) -> u64 {
        self.as_slice().size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, buffer)
    }
}

impl<S: WeightSource + ?Sized> WeightSource for &S {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }
}

impl<S: WeightSource + Send + ?Sized> WeightSource for Arc<S> {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }
}

/// Reads a source, from its beginning on or from where it is told.
pub struct SourceReader<'a> {
    source: &'a dyn WeightSource,
    at: u64,
}

impl<'a> SourceReader<'a> {
    /// At the beginning.
    pub fn new(source: &'a dyn WeightSource) -> Self {
        Self { source, at: 0 }
    }
}

impl Read for SourceReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.size_bytes().saturating_sub(self.at);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if count == 0 {
            return Ok(0);
        }
        self.source.read_at(self.at, &mut buffer[..count])?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for SourceReader<'_> {
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
    fn a_reader_goes_anywhere_and_what_lies_outside_is_its_end_or_refused() {
        let source = vec![1, 2, 3, 4, 5];
        let (mut reader, mut two) = (SourceReader::new(&source), [0; 2]);
        reader.seek(SeekFrom::End(-2)).unwrap();
        reader.read_exact(&mut two).unwrap();
        assert_eq!(two, [4, 5]);
        assert_eq!(reader.seek(SeekFrom::Current(-4)).unwrap(), 1);
        reader.read_exact(&mut two).unwrap();
        assert_eq!(two, [2, 3]);
        assert!(reader.seek(SeekFrom::Current(-4)).is_err());
        assert_eq!(reader.seek(SeekFrom::Start(u64::MAX)).unwrap(), u64::MAX);
        assert_eq!(reader.read(&mut two).unwrap(), 0);
    }
}
