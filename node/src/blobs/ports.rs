//! What fetching and serving need of the network.

use std::sync::Arc;

use assay_manifest::Digest32;
use futures::stream::BoxStream;
use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;

use super::error::{Fault, OpenError};

/// The network of nodes.
pub trait Swarm: Send + Sync + 'static {
    /// A stream of bytes to a peer.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Peers that said that they hold what this digest names: an artifact id or a blob's BLAKE3. An empty list when
    /// none is found in the time that the network gives it.
    fn holders(&self, digest: Digest32) -> impl Future<Output = Vec<PeerId>> + Send;

    /// Opens a stream of [`super::wire::protocol`] to a holder.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot be reached, or does not speak the protocol.
    fn open(&self, holder: PeerId) -> impl Future<Output = Result<Self::Stream, OpenError>> + Send;

    /// Tells of a peer that did not keep to the protocol. Does not block.
    fn report(&self, peer: PeerId, fault: Fault);

    /// Tells others that this node holds what the digest names, again and again until it is withdrawn. Does not block.
    fn announce(&self, digest: Digest32);

    /// Tells nobody any more. Does not block.
    fn withdraw(&self, digest: Digest32);
}

/// A network that was joined: how to reach its nodes, and the streams that they open.
pub struct Joined<S: Swarm> {
    /// The network.
    pub swarm: Arc<S>,
    /// Streams of [`super::wire::protocol`] from peers, such as `libp2p_stream::Control::accept` gives. Whoever makes
    /// them may drop one while this node is not quick enough.
    pub incoming: BoxStream<'static, (PeerId, S::Stream)>,
}
