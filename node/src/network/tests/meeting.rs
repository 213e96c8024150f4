//! Honest nodes.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use assay_manifest::Digest32;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::town::{GENESIS, Node, QUIC, TCP};
use crate::network::contacts::with_peer;
use crate::network::{Config, Directory, LedgerFailure, Multiaddr, Switch, meet_validators};

async fn line_of_three(listen: &str) -> [Node; 3] {
    let first = Node::start(listen, &[]).await;
    let middle = Node::start(listen, &[&first.address]).await;
    let last = Node::start(listen, &[&middle.address]).await;
    for (node, peer) in [(&first, &middle), (&middle, &first), (&middle, &last), (&last, &middle)] {
        node.meets(peer.peer()).await;
    }
    [first, middle, last]
}

async fn a_transaction_crosses_a_line_of_three(listen: &str) {
    let [first, middle, last] = line_of_three(listen).await;
    let hash = first.pool.hand_in(9);
    middle.pool.gets(hash).await;
    last.pool.gets(hash).await;
    let hash = last.pool.hand_in(10);
    first.pool.gets(hash).await;
    for node in [first, middle, last] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_reaches_everybody_over_quic() {
    a_transaction_crosses_a_line_of_three(QUIC).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_reaches_everybody_over_tcp() {
    a_transaction_crosses_a_line_of_three(TCP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_came_sooner_than_its_block_is_passed_on_when_the_block_is_there() {
    let [first, middle, last] = line_of_three(QUIC).await;
    last.pool.next_block();
    let hash = first.pool.hand_in_as(3, 9);
    middle.pool.early.subscribe().wait_for(|count| *count > 0).await.unwrap();
    assert!(!middle.pool.has(&hash) && !last.pool.has(&hash));
    middle.pool.next_block();
    middle.pool.gets(hash).await;
    last.pool.gets(hash).await;
    for node in [first, middle, last] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handed_in_faster_than_it_is_told_reaches_others_all_the_same() {
    let first = Node::start(QUIC, &[]).await;
    let second = Node::start(QUIC, &[&first.address]).await;
    first.meets(second.peer()).await;
    second.meets(first.peer()).await;
    // Twice as many as wait to be told.
    let hashes: Vec<_> = (0..128).map(|seed| first.pool.hand_in(seed)).collect();
    for hash in hashes {
        second.pool.gets(hash).await;
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_handed_in_before_anybody_was_there_reaches_whoever_comes() {
    let first = Node::start(QUIC, &[]).await;
    let hash = first.pool.hand_in(9);
    let second = Node::start(QUIC, &[&first.address]).await;
    second.pool.gets(hash).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_an_artifact_is_found_by_those_who_do_not_know_it() {
    let first = Node::start(QUIC, &[]).await;
    let second = Node::start(QUIC, &[&first.address]).await;
    let third = Node::start(QUIC, &[&first.address]).await;
    second.meets(first.peer()).await;
    third.meets(first.peer()).await;
    let id = Digest32::from_bytes([3; 32]);
    second.handle.provide(id).await.unwrap();
    loop {
        if third.handle.providers(id).await.is_ok_and(|peers| peers == vec![second.peer()]) {
            break;
        }
    }
    assert_eq!(third.handle.providers(Digest32::from_bytes([4; 32])).await, Ok(vec![]));
    for node in [first, second, third] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_much_as_a_node_has_is_found_however_much_is_told_at_once() {
    let first = Node::start(QUIC, &[]).await;
    let ids: Vec<_> = (0..100).map(|byte| Digest32::from_bytes([byte; 32])).collect();
    for id in &ids {
        first.handle.provide(*id).await.unwrap();
    }
    let second = Node::start(QUIC, &[&first.address]).await;
    second.meets(first.peer()).await;
    let third = Node::start(QUIC, &[&second.address]).await;
    third.meets(second.peer()).await;
    for id in ids {
        while !third.handle.providers(id).await.is_ok_and(|peers| peers == vec![first.peer()]) {
            tokio::task::yield_now().await;
        }
    }
    for node in [first, second, third] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_again_finds_its_peers_without_being_told() {
    let first = Node::start(QUIC, &[]).await;
    let key = [5; 32];
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let second = Node::start_in(dir, key, GENESIS, QUIC, &[&first.address]).await;
    second.meets(first.peer()).await;
    let dir = second.stop().await;
    let again = Node::start_in(dir, key, GENESIS, QUIC, &[]).await;
    again.meets(first.peer()).await;
    first.stop().await;
    again.stop().await;
}

/// A ledger on which validators announced these addresses.
#[derive(Clone)]
struct Announced(Vec<Multiaddr>);

impl Directory for Announced {
    async fn validator_addresses(&self) -> Result<Vec<Multiaddr>, LedgerFailure> {
        Ok(self.0.clone())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_knows_nobody_meets_the_validators_of_its_ledger() {
    let (gone, validator) = (Node::start(QUIC, &[]).await, Node::start(QUIC, &[]).await);
    let announced = [&gone, &validator].map(|node| with_peer(&node.address, node.peer()));
    let ledger = Announced(announced.to_vec());
    gone.stop().await;
    let lost = Node::start(QUIC, &[]).await;
    let (stop, stopped) = watch::channel(false);
    let meeting = tokio::spawn(meet_validators(lost.handle.clone(), ledger, stopped));
    lost.meets(validator.peer()).await;
    stop.send_replace(true);
    meeting.await.unwrap();
    lost.stop().await;
    validator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_dials_again_while_its_old_connection_looks_alive_is_met_anew() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mut config = Config::new(Zeroizing::new([4; 32]), dir.path().join("peers.json"));
    config.listen = vec![QUIC.parse().unwrap()];
    config.limits.redial_after = Duration::ZERO;
    let first = Node::start_with(dir, GENESIS, config).await;
    let key = [5; 32];
    let peers = [&first.address];
    let start = || Node::start_in(Arc::new(tempfile::tempdir().unwrap()), key, GENESIS, QUIC, &peers);
    let killed = start().await;
    killed.meets(first.peer()).await;
    // Another process with its key, as after a kill: the first still holds the connection of the one before.
    let again = start().await;
    again.meets(first.peer()).await;
    for node in [killed, again, first] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_two_chains_part_and_neither_hears_of_the_others_transactions() {
    let other_chain = Digest32::from_bytes([8; 32]);
    let ours = Node::start(QUIC, &[]).await;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let theirs = Node::start_in(dir, [6; 32], other_chain, QUIC, &[&ours.address]).await;
    // Whoever hears first from which chain the other is cuts it off before it may have heard, too.
    tokio::select! {
        () = ours.refuses(theirs.peer()) => {}
        () = theirs.refuses(ours.peer()) => {}
    }
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let friends = [
        Node::start(QUIC, &[&ours.address]).await,
        Node::start_in(dir, [7; 32], other_chain, QUIC, &[&theirs.address]).await,
    ];
    friends[0].meets(ours.peer()).await;
    friends[1].meets(theirs.peer()).await;
    let [hash, foreign] = [ours.pool.hand_in(9), theirs.pool.hand_in(10)];
    friends[0].pool.gets(hash).await;
    friends[1].pool.gets(foreign).await;
    assert!(!theirs.pool.has(&hash) && !ours.pool.has(&foreign));
    for node in friends.into_iter().chain([ours, theirs]) {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_nobody_reaches_is_met_through_a_relay() {
    let config = |key: u8| {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut config = Config::new(Zeroizing::new([key; 32]), dir.path().join("peers.json"));
        config.listen = vec![TCP.parse().unwrap()];
        (dir, config)
    };
    let (dir, mut of_relay) = config(1);
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    (of_relay.listen, of_relay.external) = (vec![address.clone()], vec![address.clone()]);
    of_relay.relay = Switch::On;
    let relay = Node::start_with(dir, GENESIS, of_relay).await;
    let through: Multiaddr = format!("{address}/p2p/{}/p2p-circuit", relay.peer()).parse().unwrap();

    let (dir, mut of_hidden) = config(2);
    of_hidden.listen = vec![through.clone()];
    let hidden = Node::start_with(dir, GENESIS, of_hidden).await;
    let there = format!("{through}/p2p/{}", hidden.peer()).parse().unwrap();
    let other = Node::start(TCP, &[&there]).await;
    other.meets(hidden.peer()).await;
    let hash = other.pool.hand_in(9);
    hidden.pool.gets(hash).await;
    for node in [relay, hidden, other] {
        node.stop().await;
    }
}
