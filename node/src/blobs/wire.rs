//! What two nodes say on a stream.
//!
//! A message is its length in four bytes, least first, and so many bytes of SCALE. After the answers
//! [`Answer::Manifest`] and [`Answer::Range`] come bytes: of the manifest in its canonical form, as many as the answer
//! says; or of the range, each group behind the hashes that verify it, in the order of bao with groups of 16 KiB.

use std::io::{self, Read};
use std::ops::Range;

use assay_manifest::{ArtifactId, Digest32};
use codec::{Decode, DecodeAll, Encode};
use futures::{AsyncRead, AsyncReadExt};
use libp2p::StreamProtocol;

/// Bytes of a message at most; the longest has 50.
pub const MESSAGE_BYTES_MAX: usize = 64;
/// Bytes of a manifest at most: one of a hundred thousand files or tensors. It is held in memory, in several forms.
pub const MANIFEST_BYTES_MAX: u32 = 16 << 20;
/// Bytes of a range at most, without the hashes.
pub const RANGE_BYTES_MAX: u64 = 16 << 20;

/// The protocol's name on a chain: `/assay/<chain>/blobs/1`.
///
/// # Errors
/// [`WireError::Chain`] when the name of the chain cannot be part of it.
pub fn protocol(chain: &str) -> Result<StreamProtocol, WireError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if chain.is_empty() || chain.len() > 64 || !chain.chars().all(is_plain) {
        return Err(WireError::Chain);
    }
    StreamProtocol::try_from_owned(format!("/assay/{chain}/blobs/1")).map_err(|_| WireError::Chain)
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// The manifest of an artifact.
    #[codec(index = 0)]
    Manifest(ArtifactId),
    /// A range of a blob that begins and ends with groups, in bytes.
    #[codec(index = 1)]
    Range {
        /// The blob's BLAKE3.
        blob: Digest32,
        /// First byte.
        start: u64,
        /// Behind the last byte.
        end: u64,
    },
}

/// How it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// So many bytes of a manifest follow.
    #[codec(index = 0)]
    Manifest {
        /// How many.
        size_bytes: u32,
    },
    /// The range follows.
    #[codec(index = 1)]
    Range,
    /// It is not here.
    #[codec(index = 2)]
    NotFound,
    /// Too many are served; ask again later.
    #[codec(index = 3)]
    Busy,
    /// It makes no sense, or this node does not give it.
    #[codec(index = 4)]
    Refused,
}

/// Bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than any message, or empty.
    #[error("reading a message: {0} bytes are not the length of one")]
    Length(u32),
    /// Not what a message consists of.
    #[error("reading a message: its bytes are none")]
    Content,
    /// A length that no manifest has.
    #[error("reading an answer: {0} bytes are not the length of a manifest")]
    ManifestLength(u32),
    /// A range that is empty, too long, or does not begin with a group.
    #[error("reading a request: {start} to {end} is no range")]
    BadRange {
        /// First byte.
        start: u64,
        /// Behind the last byte.
        end: u64,
    },
    /// The name of a chain that cannot be part of a protocol's name.
    #[error(
        "naming the protocol: the chain's name must have 1 to 64 letters, digits, dots, dashes or underscores"
    )]
    Chain,
}

/// A message could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is none.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The stream failed.
    #[error("reading a message: {0}")]
    Io(#[from] io::Error),
}

/// The length that four bytes state, if it is one of a message.
///
/// # Errors
/// [`WireError::Length`].
pub fn message_length(bytes: [u8; 4]) -> Result<usize, WireError> {
    let length = u32::from_le_bytes(bytes);
    match usize::try_from(length) {
        Ok(length) if (1..=MESSAGE_BYTES_MAX).contains(&length) => Ok(length),
        _ => Err(WireError::Length(length)),
    }
}

impl Request {
    /// Reads a message's bytes.
    ///
    /// # Errors
    /// [`WireError`] when they are no request, or one for a range that nobody is asked for.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let request = Self::decode_all(&mut &*bytes).map_err(|_| WireError::Content)?;
        if let Self::Range { start, end, .. } = request {
            let is_aligned = start.is_multiple_of(assay_store::GROUP_BYTES);
            if start >= end || end - start > RANGE_BYTES_MAX || !is_aligned {
                return Err(WireError::BadRange { start, end });
            }
        }
        Ok(request)
    }

    /// The request for a range.
    pub const fn range(blob: Digest32, range: &Range<u64>) -> Self {
        Self::Range { blob, start: range.start, end: range.end }
    }

    /// The message.
    pub fn message(&self) -> Vec<u8> {
        message(&self.encode())
    }
}

impl Answer {
    /// Bytes of the shortest message.
    pub const MESSAGE_BYTES_MIN: usize = 5;

    /// Reads a message's bytes.
    ///
    /// # Errors
    /// [`WireError`] when they are no answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        match Self::decode_all(&mut &*bytes).map_err(|_| WireError::Content)? {
            Self::Manifest { size_bytes } if size_bytes == 0 || size_bytes > MANIFEST_BYTES_MAX => {
                Err(WireError::ManifestLength(size_bytes))
            }
            answer => Ok(answer),
        }
    }

    /// The message.
    pub fn message(&self) -> Vec<u8> {
        message(&self.encode())
    }

    /// Reads one from bytes that are here, or from a stream that blocks.
    ///
    /// # Errors
    /// [`ReadError`] when what comes is none, or it ends too early.
    pub fn read(from: &mut impl Read) -> Result<Self, ReadError> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let length = message_length(length)?;
        let bytes = bytes.get_mut(..length).ok_or(WireError::Content)?;
        from.read_exact(bytes)?;
        Ok(Self::parse(bytes)?)
    }
}

fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    [length.to_le_bytes().as_slice(), content].concat()
}

/// Reads a message's bytes from a stream; nothing when the stream ends before one begins.
///
/// # Errors
/// [`ReadError`] when its length is none, or the stream fails.
pub async fn read_message<R: AsyncRead + Unpin>(from: &mut R) -> Result<Option<Vec<u8>>, ReadError> {
    let mut length = [0; 4];
    let (first, rest) = length.split_at_mut(1);
    if from.read(first).await? == 0 {
        return Ok(None);
    }
    from.read_exact(rest).await?;
    let mut bytes = vec![0; message_length(length)?];
    from.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob() -> Digest32 {
        Digest32::from_bytes([7; 32])
    }

    #[test]
    fn messages_are_read_as_they_were_written_and_never_change() {
        let range = Request::range(blob(), &(16_384..20_000));
        let bytes = range.message();
        assert_eq!(
            hex::encode(&bytes),
            format!("3100000001{}0040000000000000204e000000000000", "07".repeat(32))
        );
        assert_eq!(Request::parse(&bytes[4..]), Ok(range));
        let manifest = Request::Manifest(ArtifactId::from_bytes([9; 32]));
        assert_eq!(Request::parse(&manifest.message()[4..]), Ok(manifest));
        let answers = [
            (Answer::Manifest { size_bytes: 5 }, "050000000005000000"),
            (Answer::Range, "0100000001"),
            (Answer::NotFound, "0100000002"),
            (Answer::Busy, "0100000003"),
            (Answer::Refused, "0100000004"),
        ];
        for (answer, bytes) in answers {
            assert_eq!(hex::encode(answer.message()), bytes);
            assert!(answer.message().len() >= Answer::MESSAGE_BYTES_MIN);
            assert_eq!(Answer::read(&mut answer.message().as_slice()).unwrap(), answer);
        }
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_kept() {
        for length in [0, 65, 1 << 20, u32::MAX] {
            assert_eq!(message_length(length.to_le_bytes()), Err(WireError::Length(length)));
        }
        assert_eq!(message_length(64u32.to_le_bytes()), Ok(64));
        for size_bytes in [0, MANIFEST_BYTES_MAX + 1, u32::MAX] {
            let answer = Answer::Manifest { size_bytes }.encode();
            assert_eq!(Answer::parse(&answer), Err(WireError::ManifestLength(size_bytes)));
        }
    }

    #[test]
    fn ranges_that_nobody_is_asked_for_are_refused() {
        for (start, end) in
            [(0, 0), (16_384, 16_384), (32_768, 16_384), (1, 16_385), (0, RANGE_BYTES_MAX + 1), (0, u64::MAX)]
        {
            let request = Request::Range { blob: blob(), start, end };
            assert_eq!(Request::parse(&request.encode()), Err(WireError::BadRange { start, end }));
        }
    }

    #[test]
    fn garbage_is_no_message_and_no_input_panics() {
        let sound = Request::range(blob(), &(0..16_384)).encode();
        for end in 0..sound.len() {
            assert_eq!(Request::parse(&sound[..end]), Err(WireError::Content), "{end}");
        }
        let longer = [sound.as_slice(), &[0]].concat();
        assert_eq!(Request::parse(&longer), Err(WireError::Content));
        let mut noise = blake3::Hasher::new().finalize_xof();
        for length in 0..64 {
            for _ in 0..64 {
                let mut bytes = vec![0; length];
                noise.fill(&mut bytes);
                drop((Request::parse(&bytes), Answer::parse(&bytes), Answer::read(&mut bytes.as_slice())));
            }
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_a_message_is_an_error_and_before_one_is_its_end() {
        let message = Request::Manifest(ArtifactId::ZERO).message();
        let mut whole = futures::io::Cursor::new(&message);
        assert_eq!(read_message(&mut whole).await.unwrap().unwrap(), &message[4..]);
        assert!(read_message(&mut whole).await.unwrap().is_none());
        for end in 1..message.len() {
            let mut cut = futures::io::Cursor::new(&message[..end]);
            assert!(matches!(read_message(&mut cut).await, Err(ReadError::Io(_))), "{end}");
        }
    }

    #[test]
    fn the_protocol_is_one_of_its_chain() {
        assert_eq!(protocol("dev").unwrap().as_ref(), "/assay/dev/blobs/1");
        for chain in ["", "a/b", "a b", "ü", &"x".repeat(65)] {
            assert_eq!(protocol(chain), Err(WireError::Chain), "{chain}");
        }
    }
}
