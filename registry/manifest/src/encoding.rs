//! The canonical binary encoding of frozen wire types: little-endian integers at fixed width, variable
//! fields prefixed by their u32 length, nothing optional, nothing left over.

use crate::hash::Digest32;

/// Why bytes were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("reading a field at byte {at}: input ends")]
    UnexpectedEnd {
        /// Where the field begins.
        at: usize,
    },
    /// Bytes follow the last field.
    #[error("reading the end at byte {at}: input goes on")]
    TrailingBytes {
        /// Where they begin.
        at: usize,
    },
    /// A length or count is above the field's limit.
    #[error("reading a length at byte {at}: {found} is above the limit of {max}")]
    TooLong {
        /// Where the length stands.
        at: usize,
        /// The length found.
        found: u32,
        /// The limit.
        max: u32,
    },
    /// A text field is not UTF-8.
    #[error("reading text at byte {at}: not UTF-8")]
    NotUtf8 {
        /// Where the text begins.
        at: usize,
    },
    /// A field has a value that its type does not have, or that is not canonical.
    #[error("reading {what} at byte {at}: no such value")]
    InvalidValue {
        /// What was read.
        what: &'static str,
        /// Where the reader stood after it.
        at: usize,
    },
}

/// Builds canonical bytes field by field.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// No fields yet.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// A field whose length the type fixes.
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A digest field.
    pub fn digest(self, digest: &Digest32) -> Self {
        self.fixed(digest.as_bytes())
    }

    /// One byte.
    pub fn u8(self, value: u8) -> Self {
        self.fixed(&[value])
    }

    /// Two bytes.
    pub fn u16(self, value: u16) -> Self {
        self.fixed(&value.to_le_bytes())
    }

    /// Four bytes.
    pub fn u32(self, value: u32) -> Self {
        self.fixed(&value.to_le_bytes())
    }

    /// Eight bytes.
    pub fn u64(self, value: u64) -> Self {
        self.fixed(&value.to_le_bytes())
    }

    /// Sixteen bytes.
    pub fn u128(self, value: u128) -> Self {
        self.fixed(&value.to_le_bytes())
    }

    /// The number of items that follow, or of bytes of a variable field; under 2^32.
    pub fn count(self, count: usize) -> Self {
        debug_assert!(u32::try_from(count).is_ok(), "callers bound their fields far below 4 GiB");
        self.u32(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// A field of variable length.
    pub fn var(self, bytes: &[u8]) -> Self {
        self.count(bytes.len()).fixed(bytes)
    }

    /// A text field.
    pub fn str(self, text: &str) -> Self {
        self.var(text.as_bytes())
    }

    /// A count, and each item as `write` writes it.
    pub fn list<T>(self, items: &[T], write: impl Fn(Self, &T) -> Self) -> Self {
        items.iter().fold(self.count(items.len()), write)
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads what a [`Writer`] wrote, and nothing else.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::UnexpectedEnd { at: self.at })?;
        self.rest = rest;
        self.at += N;
        Ok(*head)
    }

    /// A digest.
    ///
    /// # Errors
    /// When fewer than 32 bytes are left.
    pub fn digest(&mut self) -> Result<Digest32, DecodeError> {
        self.fixed().map(Digest32::from_bytes)
    }

    /// One byte.
    ///
    /// # Errors
    /// When none is left.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.fixed().map(u8::from_le_bytes)
    }

    /// Two bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_le_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.fixed().map(u64::from_le_bytes)
    }

    /// Sixteen bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u128(&mut self) -> Result<u128, DecodeError> {
        self.fixed().map(u128::from_le_bytes)
    }

    /// A number of items, at most `max`.
    ///
    /// # Errors
    /// When it is above the limit, or the input ends.
    pub fn count(&mut self, max: u32) -> Result<u32, DecodeError> {
        let at = self.at;
        match self.u32()? {
            found if found > max => Err(DecodeError::TooLong { at, found, max }),
            count => Ok(count),
        }
    }

    /// A field of variable length, at most `max` bytes.
    ///
    /// # Errors
    /// When it is longer, or the input ends.
    pub fn var(&mut self, max: u32) -> Result<&'a [u8], DecodeError> {
        let len = self.count(max)? as usize;
        let split = self.rest.split_at_checked(len);
        let (head, rest) = split.ok_or(DecodeError::UnexpectedEnd { at: self.at })?;
        self.rest = rest;
        self.at += len;
        Ok(head)
    }

    /// A text field of at most `max` bytes.
    ///
    /// # Errors
    /// When it is longer, not UTF-8, or the input ends.
    pub fn str(&mut self, max: u32) -> Result<&'a str, DecodeError> {
        let at = self.at;
        std::str::from_utf8(self.var(max)?).map_err(|_| DecodeError::NotUtf8 { at })
    }

    /// A count of at most `max`, and as many items as it says.
    ///
    /// # Errors
    /// When there are more, or an item is refused.
    pub fn list<T>(
        &mut self,
        max: u32,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(max)?;
        // No capacity from the count: it is not to be trusted before the items have been read.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// The error for a value that the field's type does not have.
    pub const fn invalid(&self, what: &'static str) -> DecodeError {
        DecodeError::InvalidValue { what, at: self.at }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When bytes are left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest {
            [] => Ok(()),
            _ => Err(DecodeError::TrailingBytes { at: self.at }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let writer = Writer::new().u8(1).u16(2).u32(3).u64(4).u128(5).str("six");
        writer.list(&[7, 8], |w, n| w.u32(*n)).digest(&Digest32::from_bytes([9; 32])).finish()
    }

    fn read(bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        assert_eq!((reader.u8()?, reader.u16()?, reader.u32()?), (1, 2, 3));
        assert_eq!((reader.u64()?, reader.u128()?, reader.str(3)?), (4, 5, "six"));
        assert_eq!(reader.list(2, Reader::u32)?, [7, 8]);
        assert_eq!(reader.digest()?, Digest32::from_bytes([9; 32]));
        reader.finish()
    }

    #[test]
    fn reading_gives_back_what_was_written() {
        assert_eq!(read(&sample()), Ok(()));
    }

    #[test]
    fn every_truncation_and_every_extension_is_refused() {
        let bytes = sample();
        for end in 0..bytes.len() {
            assert!(matches!(read(&bytes[..end]), Err(DecodeError::UnexpectedEnd { .. })), "{end}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(read(&longer), Err(DecodeError::TrailingBytes { at: bytes.len() }));
    }

    #[test]
    fn lengths_above_the_limit_are_refused_before_reading_on() {
        let bytes = Writer::new().u32(u32::MAX).finish();
        let error = DecodeError::TooLong { at: 0, found: u32::MAX, max: 8 };
        assert_eq!(Reader::new(&bytes).var(8), Err(error.clone()));
        assert_eq!(Reader::new(&bytes).list(8, Reader::u8), Err(error));
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        let bytes = Writer::new().var(&[0xff]).finish();
        assert_eq!(Reader::new(&bytes).str(8), Err(DecodeError::NotUtf8 { at: 0 }));
    }
}
