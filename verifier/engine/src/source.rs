//! Where the bytes of a model file come from.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// A source that can be told that nothing more is wanted of it; reading it fails from then on.
pub(crate) struct Stoppable<'a> {
    source: &'a dyn WeightSource,
    stopped: AtomicBool,
}

impl<'a> Stoppable<'a> {
    pub fn new(source: &'a dyn WeightSource) -> Self {
        Self { source, stopped: AtomicBool::new(false) }
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl WeightSource for Stoppable<'_> {
    fn size_bytes(&self) -> u64 {
        self.source.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self.stopped.load(Ordering::Relaxed) {
            true => Err(ErrorKind::Interrupted.into()),
            false => self.source.read_at(offset, buffer),
        }
    }
}

/// Reads a source from its beginning.
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
        self.source.read_at(self.at, &mut buffer[..count])?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stopped_is_read_no_more() {
        let bytes = vec![1, 2, 3];
        let source = Stoppable::new(&bytes);
        let mut buffer = [0; 2];
        source.read_at(1, &mut buffer).unwrap();
        assert_eq!((source.size_bytes(), buffer), (3, [2, 3]));
        source.stop();
        assert_eq!(source.read_at(1, &mut buffer).unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
