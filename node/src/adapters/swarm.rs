//! The market's network as artifacts travel over it.

use std::sync::Arc;

use assay_manifest::Digest32;
use futures::StreamExt;
use libp2p::{PeerId, Stream, StreamProtocol};
use tracing::debug;

use crate::blobs::{self, Joined, OpenError, wire};
use crate::network::{Fault, Names, NetworkError, NetworkHandle, StartError};

/// Finds holders, and opens streams to them.
pub struct Swarm {
    network: NetworkHandle,
    protocol: StreamProtocol,
}

impl Swarm {
    /// The network of a chain, and what its nodes ask this one for.
    ///
    /// # Errors
    /// [`StartError::Protocol`] when the protocol is spoken here already.
    pub fn join(network: NetworkHandle, genesis: &Digest32) -> Result<Joined<Self>, StartError> {
        let refused = |error: &dyn std::fmt::Display| StartError::Protocol(error.to_string());
        let protocol = wire::protocol(Names::of(genesis).chain()).map_err(|error| refused(&error))?;
        let incoming = network.streams().accept(protocol.clone()).map_err(|error| refused(&error))?;
        Ok(Joined { swarm: Arc::new(Self { network, protocol }), incoming: incoming.boxed() })
    }
}

impl blobs::Swarm for Swarm {
    type Stream = Stream;

    async fn holders(&self, digest: Digest32) -> Vec<PeerId> {
        self.network.providers(digest).await.unwrap_or_else(|error| {
            debug!(%digest, %error, "looking for holders");
            Vec::new()
        })
    }

    async fn open(&self, holder: PeerId) -> Result<Stream, OpenError> {
        let opened = self.network.streams().open_stream(holder, self.protocol.clone()).await;
        opened.map_err(|error| OpenError(error.to_string()))
    }

    fn report(&self, peer: PeerId, fault: blobs::Fault) {
        debug!(%peer, ?fault, "a holder's fault");
        self.network.report_now(
            peer,
            match fault {
                blobs::Fault::Malformed => Fault::Malformed,
                blobs::Fault::CorruptRange { .. } | blobs::Fault::WrongManifest(_) => Fault::CorruptData,
                blobs::Fault::Stalled => Fault::Stalled,
            },
        );
    }

    fn announce(&self, digest: Digest32) {
        let network = self.network.clone();
        tokio::spawn(async move {
            match network.provide(digest).await {
                // Told again by the network, now and then.
                Ok(()) | Err(NetworkError::LookUp(_)) => {}
                Err(error) => debug!(%digest, %error, "telling who holds an artifact"),
            }
        });
    }

    fn withdraw(&self, digest: Digest32) {
        self.network.withdraw_now(digest);
    }
}
