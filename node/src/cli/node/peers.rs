//! `assay node peers`: whom a node meets on the market's network.

use clap::Args;
use jsonrpsee::rpc_params;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table;
use crate::network::{LINE, PeerInfo};

/// List the peers of a running node.
#[derive(Debug, Args)]
pub struct Peers {}

impl Peers {
    /// Lists them.
    ///
    /// # Errors
    /// [`Failure`] when the node cannot be asked.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let peers: Vec<PeerInfo> = client.request("node_v1_peers", rpc_params![]).await?;
        context.output().result(&peers, |peers| text(peers))?;
        Ok(())
    }
}

fn text(peers: &[PeerInfo]) -> String {
    if peers.is_empty() {
        return "no peers".into();
    }
    let row = |peer: &PeerInfo| {
        [
            peer.peer.to_string(),
            state(peer).into(),
            peer.latency_ms.map_or("-".into(), |millis| format!("{millis} ms")),
            peer.score.to_string(),
            table::plain(peer.agent.as_deref().unwrap_or("-")),
            peer.addresses.first().map_or("-".into(), ToString::to_string),
        ]
    };
    let head = ["PEER", "STATE", "PING", "SCORE", "AGENT", "ADDRESS"];
    table::table(head, &peers.iter().map(row).collect::<Vec<_>>())
}

const fn state(peer: &PeerInfo) -> &'static str {
    match (peer.connected, peer.score <= -(LINE as i64)) {
        (true, _) => "connected",
        (false, true) => "refused",
        (false, false) => "gone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_left_with_some_points_is_not_called_refused() {
        let peer = |connected, score| PeerInfo {
            peer: crate::network::PeerId::random(),
            addresses: Vec::new(),
            agent: None,
            latency_ms: None,
            score,
            connected,
        };
        assert_eq!(state(&peer(true, -25)), "connected");
        assert_eq!(state(&peer(false, -25)), "gone");
        assert_eq!(state(&peer(false, -125)), "refused");
    }

    #[test]
    fn a_peer_is_a_line_and_what_it_calls_itself_cannot_steer_the_terminal() {
        let peer = PeerInfo {
            peer: "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X".parse().unwrap(),
            addresses: vec!["/ip4/10.0.0.1/udp/1/quic-v1".parse().unwrap()],
            agent: Some("x\u{1b}[2J".into()),
            latency_ms: Some(7),
            score: -25,
            connected: true,
        };
        let text = text(&[peer]);
        assert!(text.contains("7 ms") && text.contains("-25") && text.contains("/ip4/10.0.0.1"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert_eq!(super::text(&[]), "no peers");
    }
}
