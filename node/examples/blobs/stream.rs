//! Streams of holders: what they send is counted, and may be spoiled.

use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use futures::{AsyncRead, AsyncWrite};

use crate::Failed;

/// From one spoiled byte to the next.
const SPOILED_EVERY_BYTES: u64 = 3 << 20;

/// What a holder does that none should.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    None,
    /// Some of what it sends is altered.
    Spoils,
    /// It sends nothing more after so many bytes, and leaves its streams open.
    Stops(u64),
}

/// What a holder has sent, over all its streams.
#[derive(Debug)]
pub struct Sent {
    bytes: AtomicU64,
    trouble: Trouble,
}

/// A stream of a holder.
pub struct Stream {
    inner: libp2p::Stream,
    sent: Arc<Sent>,
}

impl Sent {
    pub fn new(trouble: Trouble) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicU64::new(0), trouble })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Stream {
    pub fn new(inner: libp2p::Stream, sent: &Arc<Sent>) -> Self {
        Self { inner, sent: Arc::clone(sent) }
    }
}

impl FromStr for Trouble {
    type Err = Failed;

    fn from_str(text: &str) -> Result<Self, Failed> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            None if text == "spoils" => Ok(Self::Spoils),
            Some(("stops", after)) => Ok(Self::Stops(after.parse()?)),
            _ => Err(format!("{text} is no trouble").into()),
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => write!(f, "none"),
            Self::Spoils => write!(f, "spoils"),
            Self::Stops(after) => write!(f, "stops:{after}"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { inner, sent: counted } = &mut *self;
        let (sent, writing) = (counted.bytes(), Pin::new(inner));
        let until_spoiled = SPOILED_EVERY_BYTES - 1 - sent % SPOILED_EVERY_BYTES;
        let written = match (counted.trouble, buffer) {
            (Trouble::Stops(after), _) if sent >= after => return Poll::Pending,
            (Trouble::Spoils, [first, ..]) if until_spoiled == 0 => {
                ready!(writing.poll_write(context, &[first ^ 1]))?
            }
            (Trouble::Spoils, _) => {
                let sound = buffer.len().min(usize::try_from(until_spoiled).unwrap_or(usize::MAX));
                ready!(writing.poll_write(context, &buffer[..sound]))?
            }
            _ => ready!(writing.poll_write(context, buffer))?,
        };
        counted.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}
