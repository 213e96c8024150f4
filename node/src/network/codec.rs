//! Questions and answers on a stream: a length of four bytes, then SCALE. Nothing is allocated for what was only
//! promised.

use std::io;
use std::marker::PhantomData;

use codec::Encode;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};

use super::fault::Fault;
use super::wire::{Exchange, Message, decode_message};

/// Reads and writes one kind of question with its answer.
#[derive(Clone, Debug)]
pub struct Codec<X>(PhantomData<X>);

impl<X> Default for Codec<X> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// What a peer did wrong, carried through the layer that only knows errors of input and output.
#[derive(Debug, thiserror::Error)]
#[error("reading a message: {0}")]
struct Faulty(Fault);

/// The fault behind an error of a stream, if a fault was what ended it.
pub fn fault_of(error: &io::Error) -> Option<Fault> {
    error.get_ref()?.downcast_ref::<Faulty>().map(|faulty| faulty.0)
}

impl<X: Exchange> request_response::Codec for Codec<X> {
    type Protocol = StreamProtocol;
    /// A faulty question is one, too: of an error while it is read, nobody would hear.
    type Request = Result<X::Request, Fault>;
    type Response = X::Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_message(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<X::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_message(io).await?.map_err(faulty)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Self::Request,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let request = request.map_err(faulty)?;
        write_frame(io, &request.encode()).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: X::Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &response.encode()).await
    }
}

fn faulty(fault: Fault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Faulty(fault))
}

/// Reads a message off a stream, or the fault that it is to send what came.
///
/// # Errors
/// What the stream did: for that nobody is to blame.
pub async fn read_message<M: Message>(
    io: &mut (impl AsyncRead + Unpin + Send),
) -> io::Result<Result<M, Fault>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > u64::try_from(M::BYTES_MAX).unwrap_or(u64::MAX) {
        return Ok(Err(Fault::Oversized));
    }
    // Grows with what comes in.
    let mut bytes = Vec::new();
    let read = io.take(length).read_to_end(&mut bytes).await?;
    if u64::try_from(read).is_ok_and(|read| read == length) {
        Ok(decode_message(&bytes))
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

async fn write_frame<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    io.write_all(&length.to_le_bytes()).await?;
    io.write_all(bytes).await
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;

    use super::*;
    use crate::network::wire::{Book, BookRequest, Envelopes};

    const NAME: StreamProtocol = StreamProtocol::new("/test");

    fn read(bytes: &[u8]) -> io::Result<Result<BookRequest, Fault>> {
        block_on(Codec::<Book>::default().read_request(&NAME, &mut Cursor::new(bytes)))
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let mut written = Cursor::new(Vec::new());
        block_on(Codec::<Book>::default().write_request(&NAME, &mut written, Ok(BookRequest))).unwrap();
        assert_eq!(read(written.get_ref()).unwrap(), Ok(BookRequest));
    }

    #[test]
    fn a_length_that_is_too_great_is_a_fault_before_anything_is_read() {
        assert_eq!(read(&u32::MAX.to_le_bytes()).unwrap(), Err(Fault::Oversized));
        let error = block_on(
            Codec::<Envelopes>::default().read_response(&NAME, &mut Cursor::new(u32::MAX.to_le_bytes())),
        );
        assert_eq!(fault_of(&error.unwrap_err()), Some(Fault::Oversized));
    }

    #[test]
    fn garbage_is_a_fault_and_a_cut_connection_is_none() {
        assert_eq!(read(&[3, 0, 0, 0, 1, 2, 3]).unwrap(), Err(Fault::Malformed));
        for cut in [vec![], vec![3, 0], vec![3, 0, 0, 0, 1]] {
            assert_eq!(fault_of(&read(&cut).unwrap_err()), None);
        }
    }
}
