//! The courier's loop.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use assay_manifest::JobId;
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::Purpose;
use libp2p::PeerId;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::carry::{Carrier, Handed};
use super::outbox::Outbox;
use super::survey::{Survey, SurveyError, blocking, survey};
use super::wants::{Want, Wants};
use crate::network::inbox::{Asked, NetworkHandle};
use crate::network::ports::{JobLedger, PostOffice, Slip};
use crate::network::presence::{Place, SharedBook};
use crate::network::wire::{ENVELOPES_MAX, EnvelopeRequest, EnvelopeResponse, Receipt};
use crate::supervisor::told_to_stop;

/// Questions of others that are answered at the same time; more wait.
const ANSWERS_MAX: usize = 16;
/// Peers that envelopes are handed to at the same time.
const LOADS_MAX: usize = 16;
/// Envelopes that are asked for at the same time.
const FETCHES_MAX: usize = 16;
/// Jobs of each kind that are looked up on the ledger at a block; the rest has its turn later.
const LOOKED_UP_MAX: usize = 64;
/// Jobs whose input came from a known peer, to which the answer goes.
const ORIGINS_MAX: usize = 16_384;
/// Jobs bought elsewhere whose answer somebody asked for here; the oldest make room.
const WISHES_MAX: usize = 1_024;
/// Connected peers that are asked for what nobody else has.
const STRANGERS_MAX: usize = 8;

/// Who is at home at this node.
#[derive(Clone, Debug, Default)]
pub struct Home {
    /// Providers.
    pub hosted: Vec<AccountBytes>,
    /// The validator, by its consensus key.
    pub judge: Option<AccountBytes>,
}

impl Home {
    /// All of them.
    pub fn everybody(&self) -> Vec<AccountBytes> {
        self.hosted.iter().chain(&self.judge).copied().collect()
    }

    fn has(&self, party: &AccountBytes) -> bool {
        self.hosted.contains(party) || self.judge.as_ref() == Some(party)
    }
}

/// Asks for the answer of a job that was bought through another node.
#[derive(Clone, Debug)]
pub struct Wish(mpsc::Sender<JobId>);

impl Wish {
    /// Has it fetched, if there is room for one more wish.
    pub fn answer_of(&self, job: JobId) {
        // Whoever asked asks again.
        let _ = self.0.try_send(job);
    }
}

enum Done {
    Surveyed(u32, Result<Survey, SurveyError>),
    Handed(Handed),
    Fetched(Want),
    /// Inputs that were kept, and from whom.
    Answered(PeerId, Vec<JobId>),
    Listed(Result<Vec<Slip>, SurveyError>),
}

/// The service; [`Courier::run`] ends when it is told to.
pub struct Courier<L, P> {
    carrier: Carrier<L, P>,
    book: SharedBook,
    questions: mpsc::Receiver<Asked<EnvelopeRequest, EnvelopeResponse>>,
    arrivals: broadcast::Receiver<Slip>,
    wishes: mpsc::Receiver<JobId>,
    outbox: Outbox,
    wants: Wants,
    /// Who may have what is lacked.
    holders: BTreeMap<Want, Vec<AccountBytes>>,
    /// Where inputs came from.
    origins: HashMap<JobId, PeerId>,
    /// Jobs whose requesters come here for the answer, in the order in which they are looked up.
    bought: BTreeSet<JobId>,
    bought_next: Option<JobId>,
    sent_next: Option<JobId>,
    answers: JoinSet<Done>,
    tasks: JoinSet<Done>,
    is_surveying: bool,
    height: u32,
}

impl<L: JobLedger, P: PostOffice> Courier<L, P> {
    /// Between the network, the ledger and what lies at this node.
    pub fn new(
        network: NetworkHandle,
        questions: mpsc::Receiver<Asked<EnvelopeRequest, EnvelopeResponse>>,
        (ledger, post): (L, P),
        book: SharedBook,
        home: Home,
    ) -> (Self, Wish) {
        let (wish, wishes) = mpsc::channel(WISHES_MAX);
        let arrivals = post.arrivals();
        let courier = Self {
            carrier: Carrier { network, ledger, post, home },
            book,
            questions,
            arrivals,
            wishes,
            outbox: Outbox::default(),
            wants: Wants::default(),
            holders: BTreeMap::new(),
            origins: HashMap::new(),
            bought: BTreeSet::new(),
            bought_next: None,
            sent_next: None,
            answers: JoinSet::new(),
            tasks: JoinSet::new(),
            is_surveying: false,
            height: 0,
        };
        (courier, Wish(wish))
    }

    /// Works until `stop` turns true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.work() => told_to_stop(&mut stop).await,
            () = told_to_stop(&mut stop) => {}
        }
    }

    /// Ends when network or ledger have stopped, which ends the node by itself.
    async fn work(&mut self) {
        let mut heights = self.carrier.ledger.heights();
        heights.mark_changed();
        self.list();
        loop {
            tokio::select! {
                changed = heights.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.height = *heights.borrow_and_update();
                    self.look();
                }
                question = self.questions.recv(), if self.answers.len() < ANSWERS_MAX => match question {
                    Some(question) => self.answer(question),
                    None => return,
                },
                arrival = self.arrivals.recv() => match arrival {
                    Ok(slip) => self.arrived(slip),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.list(),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(job) = self.wishes.recv() => {
                    if self.bought.len() < WISHES_MAX {
                        self.bought.insert(job);
                    }
                }
                Some(Ok(done)) = self.answers.join_next() => self.on_done(done),
                Some(Ok(done)) = self.tasks.join_next() => self.on_done(done),
            }
            self.start_due();
        }
    }

    /// Reads what lies in the journal: at the start, and when too much came in at once.
    fn list(&mut self) {
        let post = self.carrier.post.clone();
        self.tasks.spawn(async move { Done::Listed(blocking(&post, |post| post.slips()).await) });
    }

    fn arrived(&mut self, slip: Slip) {
        let home = &self.carrier.home;
        if home.has(&slip.recipient) {
            return;
        }
        if slip.purpose == Purpose::Input {
            self.bought.insert(slip.job);
        }
        if !self.outbox.add(slip) {
            warn!(?slip, "too many envelopes wait to be handed over");
        }
    }

    /// Looks at the ledger, if the last look has ended.
    fn look(&mut self) {
        if std::mem::replace(&mut self.is_surveying, true) {
            return;
        }
        let bought = some_after(self.bought.iter().copied(), &mut self.bought_next);
        let sent = some_after(self.outbox.jobs().into_iter(), &mut self.sent_next);
        let (carrier, height) = (self.carrier.clone(), self.height);
        self.tasks.spawn(async move {
            let found = survey(&carrier.ledger, &carrier.post, &carrier.home, bought, sent).await;
            Done::Surveyed(height, found)
        });
    }

    fn answer(&mut self, asked: Asked<EnvelopeRequest, EnvelopeResponse>) {
        let carrier = self.carrier.clone();
        self.answers.spawn(async move {
            let Asked { from, question, answer } = asked;
            let (response, inputs) = match question {
                EnvelopeRequest::Put(envelopes) => {
                    let inputs = envelopes
                        .iter()
                        .map(|envelope| (envelope.purpose == Purpose::Input).then_some(envelope.job));
                    let inputs: Vec<_> = inputs.collect();
                    let receipts = carrier.take(from, envelopes, None).await;
                    let inputs = receipts.as_ref().map(|receipts| kept(inputs, receipts)).unwrap_or_default();
                    (receipts.map(EnvelopeResponse::Put), inputs)
                }
                EnvelopeRequest::Get { job, purpose, recipient } => {
                    (carrier.give(job, purpose, recipient).await.map(EnvelopeResponse::Got), Vec::new())
                }
            };
            match response {
                // A network that has stopped has nobody to answer.
                Ok(response) => drop(carrier.network.answer_envelopes(answer, response).await),
                Err(error) => warn!(%error, "answering a peer about envelopes"),
            }
            Done::Answered(from, inputs)
        });
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Surveyed(height, Ok(found)) => {
                self.is_surveying = false;
                self.surveyed(height, found);
            }
            Done::Surveyed(_, Err(error)) => {
                self.is_surveying = false;
                warn!(%error, "looking for what is to be carried");
            }
            Done::Handed(Handed { done, failed }) => {
                done.iter().for_each(|slip| self.outbox.done(slip));
                failed.iter().for_each(|slip| self.outbox.failed(slip, self.height));
            }
            Done::Fetched(want) => self.wants.asked(&want, self.height),
            Done::Answered(from, inputs) => {
                for job in inputs {
                    if self.origins.len() < ORIGINS_MAX || self.origins.contains_key(&job) {
                        self.origins.insert(job, from);
                    }
                }
            }
            Done::Listed(Ok(slips)) => slips.into_iter().for_each(|slip| self.arrived(slip)),
            Done::Listed(Err(error)) => warn!(%error, "reading what is to be carried"),
        }
    }

    fn surveyed(&mut self, height: u32, found: Survey) {
        let Survey { lacked, closed, answered, paid } = found;
        paid.iter().for_each(|job| self.outbox.paid(job));
        for job in &closed {
            self.outbox.close(job);
            self.origins.remove(job);
        }
        for job in closed.iter().chain(&answered) {
            self.bought.remove(job);
        }
        self.wants.update(&lacked.keys().copied().collect(), height);
        self.holders = lacked;
    }

    /// How much more may be begun.
    fn room(&self) -> usize {
        LOADS_MAX.saturating_add(FETCHES_MAX).saturating_sub(self.tasks.len())
    }

    fn start_due(&mut self) {
        let loads = LOADS_MAX.min(self.room());
        let (book, origins, local) = (&self.book, &self.origins, self.carrier.network.local_peer());
        let find = |slip: &Slip| {
            let announced = book.find(&slip.recipient);
            let came_from = || {
                let origin = origins.get(&slip.job).filter(|_| slip.purpose == Purpose::Answer)?;
                Some(Place { peer: *origin, addresses: Vec::new() })
            };
            announced.or_else(came_from).filter(|place| place.peer != local)
        };
        for load in self.outbox.take_due(self.height, (loads, ENVELOPES_MAX), find) {
            let carrier = self.carrier.clone();
            self.tasks.spawn(async move { Done::Handed(carrier.hand_over(load).await) });
        }
        let fetches = FETCHES_MAX.min(self.room());
        for (want, attempts) in self.wants.take_due(self.height, fetches) {
            let holders = self.holders.get(&want).cloned().unwrap_or_default();
            let places = holders.iter().filter_map(|party| self.book.find(party));
            let places: Vec<_> = places.filter(|place| place.peer != local).collect();
            let carrier = self.carrier.clone();
            self.tasks.spawn(async move {
                if let Some(place) = whom_to_ask(&carrier.network, places, attempts).await {
                    debug!(?want, peer = %place.peer, "asking for an envelope");
                    carrier.fetch(want, place).await;
                }
                Done::Fetched(want)
            });
        }
    }
}

/// The jobs of inputs that were kept.
fn kept(inputs: Vec<Option<JobId>>, receipts: &[Receipt]) -> Vec<JobId> {
    let kept = inputs.into_iter().zip(receipts).filter(|(_, receipt)| **receipt == Receipt::Kept);
    kept.filter_map(|(job, _)| job).collect()
}

/// Those who should have it and whoever is connected, in turn.
async fn whom_to_ask(network: &NetworkHandle, mut places: Vec<Place>, attempts: u32) -> Option<Place> {
    let connected = network.peers().await.unwrap_or_default();
    let strangers = connected.into_iter().filter(|info| info.connected);
    let strangers: Vec<_> = strangers
        .filter(|info| places.iter().all(|place| place.peer != info.peer))
        .take(STRANGERS_MAX)
        .collect();
    places.extend(strangers.into_iter().map(|info| Place { peer: info.peer, addresses: Vec::new() }));
    let turn = usize::try_from(attempts).unwrap_or(usize::MAX).checked_rem(places.len())?;
    places.into_iter().nth(turn)
}

/// The next few of an ordered list, going round.
fn some_after(ids: impl Iterator<Item = JobId>, next: &mut Option<JobId>) -> Vec<JobId> {
    let all: Vec<_> = ids.collect();
    let start = next.map_or(0, |next| all.partition_point(|id| *id < next));
    let some: Vec<_> = all.iter().cycle().skip(start).take(LOOKED_UP_MAX.min(all.len())).copied().collect();
    *next = all.iter().cycle().nth(start.saturating_add(some.len())).copied();
    some
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_has_its_turn() {
        let ids: Vec<_> = (0..200u8).map(|byte| JobId::from_bytes([byte; 32])).collect();
        let (mut next, mut seen) = (None, BTreeSet::new());
        for _ in 0..4 {
            let some = some_after(ids.iter().copied(), &mut next);
            assert_eq!(some.len(), LOOKED_UP_MAX);
            seen.extend(some);
        }
        assert_eq!(seen.len(), 200);
        assert_eq!(some_after(std::iter::empty(), &mut next), vec![]);
        assert_eq!(some_after(ids.iter().copied().take(3), &mut None).len(), 3);
    }
}
