//! Envelopes between nodes, over a ledger with one job.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assay_manifest::{Digest32, JobId};
use assay_protocol::announcement::{Announcer, Capacity};
use assay_protocol::commitment::{Claim, Finish, Salt};
use assay_protocol::job::{Job, Phase};
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::{Envelope, Purpose};
use assay_protocol::signature::WorkKey;
use assay_protocol::units::Height;
use codec::Encode;
use sp_core::Pair;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::town::QUIC;
use crate::adapters::Journal;
use crate::fixtures::{EXECUTOR, REQUESTER, VERIFIERS, envelope, job, pair};
use crate::network::{
    Announcing, Config, Courier, EnvelopeRequest, EnvelopeResponse, Home, Incoming, JobLedger, LedgerFailure,
    Multiaddr, Network, NetworkHandle, PeerInfo, PostOffice, Presence, Receipt, Refusal, Registry,
    SharedBook, Slip, Topic, Wish,
};
use crate::worker::Mailbox;

/// From one block to the next.
const BLOCK_TIME: Duration = Duration::from_millis(50);

/// A ledger with one job, whose providers are the job's.
#[derive(Clone)]
pub struct OneJob {
    job: Arc<Mutex<Job>>,
    heights: watch::Receiver<u32>,
}

impl OneJob {
    pub fn new() -> Self {
        let (told, heights) = watch::channel(1);
        tokio::spawn(async move {
            let mut blocks = tokio::time::interval(BLOCK_TIME);
            while !told.is_closed() {
                blocks.tick().await;
                told.send_modify(|height| *height += 1);
            }
        });
        Self { job: Arc::new(Mutex::new(job())), heights }
    }

    pub fn get(&self) -> Job {
        self.job.lock().unwrap().clone()
    }

    /// The executor has committed.
    fn claim(&self) {
        let claim = Claim::of(&Salt::from_bytes([1; 32]), &[1], Finish::Eos);
        self.job.lock().unwrap().claim = Some(claim);
    }

    /// The values were found to agree.
    fn settle(&self) {
        self.job.lock().unwrap().phase = Phase::Settled { closes_at: Height::new(1_000_000) };
    }

    /// No verdict was reached, and nobody is paid.
    fn comes_to_nothing(&self) {
        self.job.lock().unwrap().phase = Phase::Inconclusive;
    }

    /// A provider signs with another key from now on.
    fn change_key(&self, party: u8) {
        let mut job = self.job.lock().unwrap();
        let seat = job.seats.iter_mut().find(|seat| seat.provider == [party; 32]).unwrap();
        seat.work_key = pair(party + 100).public().0;
    }

    /// Waits for so many blocks.
    async fn pass(&self, blocks: u32) {
        let mut heights = self.heights.clone();
        let end = *heights.borrow() + blocks;
        heights.wait_for(|height| *height >= end).await.unwrap();
    }
}

impl Registry for OneJob {
    fn genesis(&self) -> Digest32 {
        self.get().genesis
    }

    fn heights(&self) -> watch::Receiver<u32> {
        self.heights.clone()
    }

    async fn signing_key(&self, announcer: Announcer) -> Result<Option<WorkKey>, LedgerFailure> {
        let job = self.get();
        let seat = job.seats.iter().find(|seat| announcer == Announcer::Provider(seat.provider));
        Ok(seat.map(|seat| seat.work_key))
    }

    async fn capacity(&self, _: Announcer) -> Result<Capacity, LedgerFailure> {
        Ok(Capacity::default())
    }
}

impl JobLedger for OneJob {
    fn genesis(&self) -> Digest32 {
        self.get().genesis
    }

    fn heights(&self) -> watch::Receiver<u32> {
        self.heights.clone()
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, LedgerFailure> {
        Ok(Some(self.get()).filter(|job| job.id == id))
    }

    async fn at_hand(&self, accounts: Vec<AccountBytes>) -> Result<Vec<Job>, LedgerFailure> {
        let job = self.get();
        let is_at_hand = job.seats.iter().any(|seat| accounts.contains(&seat.provider));
        Ok(is_at_hand.then_some(job).into_iter().collect())
    }

    async fn contested(&self) -> Result<Vec<Job>, LedgerFailure> {
        Ok(Vec::new())
    }

    async fn validators(&self) -> Result<BTreeSet<AccountBytes>, LedgerFailure> {
        Ok(BTreeSet::new())
    }
}

/// A node with a journal.
pub struct Post {
    pub handle: NetworkHandle,
    journal: Journal,
    book: SharedBook,
    wish: Wish,
    pub address: Multiaddr,
    dir: TempDir,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Post {
    /// The node of these providers.
    pub async fn start(ledger: &OneJob, hosted: &[u8], peers: &[&Multiaddr]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), ledger, hosted, peers).await
    }

    async fn start_in(dir: TempDir, ledger: &OneJob, hosted: &[u8], peers: &[&Multiaddr]) -> Self {
        let mut config = Config::new(Zeroizing::new(rand::random()), dir.path().join("peers.json"));
        config.listen = vec![QUIC.parse().unwrap()];
        config.peers = peers.iter().map(|address| (*address).clone()).collect();
        Self::start_with(dir, ledger, hosted, config).await
    }

    pub async fn start_with(dir: TempDir, ledger: &OneJob, hosted: &[u8], config: Config) -> Self {
        let (network, handle, incoming) = Network::start(config, &Registry::genesis(ledger)).unwrap();
        let Incoming { announcements, envelopes, book: questions, .. } = incoming;
        let own = hosted.iter().map(|party| Announcing::Provider([*party; 32], pair(*party))).collect();
        let (presence, book) = Presence::new(handle.clone(), ledger.clone(), own, announcements, questions);
        let journal = Journal::open(&dir.path().join("jobs.redb")).unwrap();
        let home = Home { hosted: hosted.iter().map(|party| [*party; 32]).collect(), judge: None };
        let of_courier = (ledger.clone(), journal.clone());
        let (courier, wish) = Courier::new(handle.clone(), envelopes, of_courier, book.clone(), home);
        let stop = watch::channel(false).0;
        let tasks = vec![
            tokio::spawn(network.run(stop.subscribe())),
            tokio::spawn(presence.run(stop.subscribe())),
            tokio::spawn(courier.run(stop.subscribe())),
        ];
        let address = loop {
            match handle.listening().await.unwrap().pop() {
                Some(address) => break address,
                None => tokio::task::yield_now().await,
            }
        };
        Self { handle, journal, book, wish, address, dir, stop, tasks }
    }

    pub fn put(&self, envelope: &Envelope) {
        self.journal.put(std::slice::from_ref(envelope)).unwrap();
    }

    /// Waits until an envelope lies here.
    pub async fn gets(&self, envelope: &Envelope) {
        let mut arrivals = self.journal.arrivals();
        while self.journal.envelope(&Slip::of(envelope)).unwrap().as_ref() != Some(envelope) {
            arrivals.recv().await.unwrap();
        }
    }

    /// Waits until it knows where a provider is.
    async fn finds(&self, party: u8, heights: &mut watch::Receiver<u32>) {
        while self.book.find(&[party; 32]).is_none() {
            heights.changed().await.unwrap();
        }
    }

    /// Waits until it refuses another.
    async fn refuses(&self, other: &Self) {
        loop {
            let peers = self.handle.peers().await.unwrap();
            let is_other = |info: &&PeerInfo| info.peer == other.handle.local_peer();
            if peers.iter().find(is_other).is_some_and(|info| !info.connected && info.score <= -100) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    pub async fn stop(self) -> TempDir {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.dir
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_work_and_answer_reach_the_nodes_of_those_they_are_for() {
    let ledger = OneJob::new();
    let job = ledger.get();
    // The buyer's node knows one verifier's alone, which knows nobody but the executor's.
    let executors = Post::start(&ledger, &[EXECUTOR], &[]).await;
    let verifiers = Post::start(&ledger, &[VERIFIERS[0]], &[&executors.address]).await;
    let buyers = Post::start(&ledger, &[], &[&verifiers.address]).await;

    let input = envelope(&job, Purpose::Input, [REQUESTER, EXECUTOR], 0);
    buyers.put(&input);
    executors.gets(&input).await;
    ledger.claim();
    let answer = envelope(&job, Purpose::Answer, [EXECUTOR, REQUESTER], 0);
    let work = envelope(&job, Purpose::Work, [EXECUTOR, VERIFIERS[0]], 1);
    executors.put(&answer);
    executors.put(&work);
    verifiers.gets(&work).await;
    ledger.settle();
    buyers.gets(&answer).await;
    // It passes nobody who has no part in it.
    assert_eq!(verifiers.journal.slips().unwrap(), vec![Slip::of(&work)]);
    for node in [executors, verifiers, buyers] {
        node.stop().await;
    }
}

/// It holds the executor's trace root: a verifier that got it from the requester would commit without the work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_an_answer_before_its_job_is_paid() {
    let ledger = OneJob::new();
    let job = ledger.get();
    let executors = Post::start(&ledger, &[EXECUTOR], &[]).await;
    let buyers = Post::start(&ledger, &[], &[&executors.address]).await;
    let input = envelope(&job, Purpose::Input, [REQUESTER, EXECUTOR], 0);
    buyers.put(&input);
    executors.gets(&input).await;
    ledger.claim();
    let answer = envelope(&job, Purpose::Answer, [EXECUTOR, REQUESTER], 0);
    executors.put(&answer);
    buyers.wish.answer_of(job.id);
    // Enough for both ways, and several attempts at each.
    ledger.pass(8).await;
    let ask = EnvelopeRequest::Get { job: job.id, purpose: Purpose::Answer, recipient: job.requester };
    let there = async || {
        let to = executors.handle.local_peer();
        buyers.handle.ask_envelopes(to, vec![executors.address.clone()], ask.clone()).await.unwrap()
    };
    assert_eq!(there().await, EnvelopeResponse::Got(vec![]));
    assert_eq!(buyers.journal.slips().unwrap(), vec![Slip::of(&input)]);
    // Nor when nobody has paid it.
    ledger.comes_to_nothing();
    ledger.pass(8).await;
    assert_eq!(there().await, EnvelopeResponse::Got(vec![]));
    assert_eq!(buyers.journal.slips().unwrap(), vec![Slip::of(&input)]);
    ledger.settle();
    assert_eq!(there().await, EnvelopeResponse::Got(vec![answer.clone()]));
    buyers.gets(&answer).await;
    executors.stop().await;
    buyers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_again_hands_over_what_lies_in_its_journal() {
    let ledger = OneJob::new();
    let input = envelope(&ledger.get(), Purpose::Input, [REQUESTER, EXECUTOR], 0);
    let first = Post::start(&ledger, &[], &[]).await;
    first.put(&input);
    let dir = first.stop().await;
    let executors = Post::start(&ledger, &[EXECUTOR], &[]).await;
    let again = Post::start_in(dir, &ledger, &[], &[&executors.address]).await;
    executors.gets(&input).await;
    executors.stop().await;
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_handed_over_is_fetched() {
    let ledger = OneJob::new();
    let job = ledger.get();
    ledger.claim();
    ledger.settle();
    let executors = Post::start(&ledger, &[EXECUTOR], &[]).await;
    let answer = envelope(&job, Purpose::Answer, [EXECUTOR, REQUESTER], 0);
    executors.put(&answer);
    // Neither has the executor's node heard of this one, nor was the job bought here: somebody asks for its answer.
    let other = Post::start(&ledger, &[], &[&executors.address]).await;
    other.wish.answer_of(job.id);
    other.gets(&answer).await;
    for node in [executors, other] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_envelope_is_refused_and_so_is_who_hands_over_another() {
    let ledger = OneJob::new();
    let job = ledger.get();
    let victim = Post::start(&ledger, &[EXECUTOR], &[]).await;
    let liar = Post::start(&ledger, &[], &[&victim.address]).await;
    liar.finds(EXECUTOR, &mut ledger.heights.clone()).await;
    let hand_over = async |envelopes: Vec<Envelope>| {
        let to = victim.handle.local_peer();
        liar.handle.ask_envelopes(to, vec![victim.address.clone()], EnvelopeRequest::Put(envelopes)).await
    };
    let input = envelope(&job, Purpose::Input, [REQUESTER, EXECUTOR], 0);
    let early = Envelope { job: JobId::from_bytes([9; 32]), ..input.clone() };
    let misled = envelope(&job, Purpose::Work, [EXECUTOR, VERIFIERS[0]], 1);
    let kept = hand_over(vec![early, misled, input.clone()]).await.unwrap();
    let refused = [Refusal::UnknownJob, Refusal::NotHere].map(Receipt::Refused);
    assert_eq!(kept, EnvelopeResponse::Put([&refused[..], &[Receipt::Kept]].concat()));

    let mut forged = input.clone();
    forged.package[9] = 1;
    let receipt = hand_over(vec![forged.clone()]).await.unwrap();
    assert_eq!(receipt, EnvelopeResponse::Put(vec![Receipt::Refused(Refusal::Forged)]));
    // The second time, the answer may be cut off by the refusal of the peer.
    drop(hand_over(vec![forged]).await);
    victim.refuses(&liar).await;
    assert_eq!(victim.journal.envelope(&Slip::of(&input)).unwrap(), Some(input));
    victim.stop().await;
    liar.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_announcement_leads_nobody_astray() {
    let ledger = OneJob::new();
    let victim = Post::start(&ledger, &[EXECUTOR], &[]).await;
    let verifiers = Post::start(&ledger, &[VERIFIERS[0]], &[&victim.address]).await;
    let liar = Post::start(&ledger, &[], &[&victim.address]).await;
    victim.finds(VERIFIERS[0], &mut ledger.heights.clone()).await;
    liar.finds(VERIFIERS[0], &mut ledger.heights.clone()).await;
    let known = liar.book.read(|book| book.newest(9));
    let genuine =
        known.iter().find(|signed| signed.announcement.announcer == Announcer::Provider([VERIFIERS[0]; 32]));
    let mut forged = genuine.unwrap().clone();
    forged.announcement.peer = liar.handle.local_peer().to_bytes().try_into().unwrap();
    for ahead in 1..=8 {
        forged.announcement.height = Height::new(genuine.unwrap().announcement.height.get() + 300 + ahead);
        liar.handle.publish(Topic::Announcements, forged.encode()).await.unwrap();
    }
    ledger.pass(4).await;
    assert_eq!(victim.book.find(&[VERIFIERS[0]; 32]).unwrap().peer, verifiers.handle.local_peer());
    for node in [victim, verifiers, liar] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_from_before_a_key_changed_is_read_to_its_end_and_nobody_is_blamed_for_it() {
    let ledger = OneJob::new();
    let executors = Post::start(&ledger, &[EXECUTOR, VERIFIERS[0]], &[]).await;
    let verifiers = Post::start(&ledger, &[VERIFIERS[1]], &[&executors.address]).await;
    let mut heights = ledger.heights.clone();
    for party in [EXECUTOR, VERIFIERS[0]] {
        verifiers.finds(party, &mut heights).await;
    }
    // The newest stands first in the book.
    ledger.change_key(EXECUTOR);
    ledger.change_key(VERIFIERS[1]);
    let newcomer = Post::start(&ledger, &[], &[&verifiers.address]).await;
    newcomer.finds(VERIFIERS[0], &mut heights).await;
    ledger.pass(4).await;
    assert!(newcomer.book.find(&[EXECUTOR; 32]).is_none());
    for info in newcomer.handle.peers().await.unwrap() {
        assert_eq!(info.score, 0, "{info:?}");
    }
    for node in [executors, verifiers, newcomer] {
        node.stop().await;
    }
}
