//! Frames: a length of four bytes, little-endian, and as many bytes of SCALE.

use std::io::{self, ErrorKind, Read, Write};

use codec::{DecodeAll, Encode};
use zeroize::Zeroizing;

/// Bytes of one frame: above every request, and above the answer of a model with a million positions.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// What the two ends say to each other could not be said or understood.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other end is gone, between two frames or in the middle of one.
    #[error("reading a frame: the other end has closed the connection")]
    Closed,
    /// Nothing came in time.
    #[error("reading a frame: nothing came in time")]
    Silent,
    /// Longer than any message; nothing of it was read.
    #[error("reading a frame: {len} bytes are above the limit of {FRAME_BYTES_MAX}")]
    TooLong {
        /// Bytes that were announced.
        len: usize,
    },
    /// A message of ours would be longer than any may be.
    #[error("writing a frame: {len} bytes are above the limit of {FRAME_BYTES_MAX}")]
    TooLongToSend {
        /// Its bytes.
        len: usize,
    },
    /// The connection failed while it was read.
    #[error("reading a frame: {0}")]
    Read(io::Error),
    /// The connection failed while it was written.
    #[error("writing a frame: {0}")]
    Write(io::Error),
    /// Its bytes are no message.
    #[error("decoding a frame: {0}")]
    Malformed(codec::Error),
    /// A message that has no place there.
    #[error("following the other end: {0}")]
    OutOfPlace(&'static str),
    /// The other end is of another build.
    #[error("meeting the other end: it speaks version {theirs}, and this one {ours}")]
    Version {
        /// Of this end.
        ours: u16,
        /// Of the other.
        theirs: u16,
    },
}

/// Writes a message. Nothing of it stays in memory.
///
/// # Errors
/// [`WireError::TooLongToSend`] before anything is written; [`WireError::Write`] and [`WireError::Closed`], after which the
/// connection is of no use any more.
pub fn send(to: &mut impl Write, message: &impl Encode) -> Result<(), WireError> {
    let len = message.encoded_size();
    let prefix = u32::try_from(len).ok().filter(|_| len <= FRAME_BYTES_MAX);
    let prefix = prefix.ok_or(WireError::TooLongToSend { len })?;
    // Of the right size from the beginning, so that growing leaves no copy behind.
    let mut frame = Zeroizing::new(Vec::with_capacity(size_of::<u32>() + len));
    frame.extend_from_slice(&prefix.to_le_bytes());
    message.encode_to(&mut *frame);
    to.write_all(&frame).map_err(|error| match error.kind() {
        // It has ended: how is what counts.
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => WireError::Closed,
        _ => WireError::Write(error),
    })
}

/// Reads the next message.
///
/// # Errors
/// [`WireError`].
pub fn receive<M: DecodeAll>(from: &mut impl Read) -> Result<M, WireError> {
    let mut prefix = [0; size_of::<u32>()];
    from.read_exact(&mut prefix).map_err(read_error)?;
    let len = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
    if len > FRAME_BYTES_MAX {
        return Err(WireError::TooLong { len });
    }
    let mut frame = Zeroizing::new(vec![0; len]);
    from.read_exact(&mut frame).map_err(read_error)?;
    M::decode_all(&mut frame.as_slice()).map_err(WireError::Malformed)
}

fn read_error(error: io::Error) -> WireError {
    match error.kind() {
        // A process that was killed with something unread resets the connection.
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => WireError::Closed,
        ErrorKind::WouldBlock | ErrorKind::TimedOut => WireError::Silent,
        _ => WireError::Read(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        let mut wire = Vec::new();
        send(&mut wire, &(7u32, "and")).unwrap();
        send(&mut wire, &vec![1u8; 5]).unwrap();
        let mut wire = wire.as_slice();
        assert_eq!(receive::<(u32, String)>(&mut wire).unwrap(), (7, "and".to_owned()));
        assert_eq!(receive::<Vec<u8>>(&mut wire).unwrap(), [1; 5]);
        assert!(matches!(receive::<u8>(&mut wire), Err(WireError::Closed)));
    }

    #[test]
    fn an_end_that_is_gone_is_told_as_such_by_whoever_writes_first() {
        let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(far);
        assert!(matches!(send(&mut near, &7u8), Err(WireError::Closed)));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_memory_is_taken_for_it() {
        let lie = u32::MAX.to_le_bytes();
        let refused = receive::<Vec<u8>>(&mut lie.as_slice());
        assert!(
            matches!(refused, Err(WireError::TooLong { len }) if len == u32::MAX as usize),
            "{refused:?}"
        );
        let refused = send(&mut Vec::new(), &vec![0u8; FRAME_BYTES_MAX]);
        assert!(matches!(refused, Err(WireError::TooLongToSend { .. })), "{refused:?}");
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        let cases: [(&str, &[u8]); 3] = [
            ("a list longer than the frame", &[4, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]),
            ("bytes after the message", &[3, 0, 0, 0, 4, 1, 1]),
            ("an empty frame", &[0; 4]),
        ];
        for (why, bytes) in cases {
            let refused = receive::<Vec<u8>>(&mut &*bytes);
            assert!(matches!(refused, Err(WireError::Malformed(_))), "{why}: {refused:?}");
        }
        let cut_off = receive::<Vec<u8>>(&mut [9, 0, 0, 0, 1].as_slice());
        assert!(matches!(cut_off, Err(WireError::Closed)), "{cut_off:?}");
    }
}
