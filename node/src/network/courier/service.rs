//! The courier's loop.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use assay_manifest::JobId;
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::Purpose;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{error, warn};

use super::carry::{Carrier, Handed};
use super::origins::Origins;
use super::outbox::{Load, Outbox};
use super::survey::{Survey, SurveyError, blocking, survey};
use super::turns::some_after;
use super::wants::{Due, Want, Wants, in_turn};
use crate::network::inbox::{Asked, NetworkHandle};
use crate::network::ports::{JobLedger, PostOffice, Slip};
use crate::network::presence::{Place, SharedBook};
use crate::network::wire::{ENVELOPES_MAX, EnvelopeRequest, EnvelopeResponse, Receipt};
use crate::supervisor::told_to_stop;

/// Questions of others that are answered at the same time; more wait.
const ANSWERS_MAX: usize = 16;
/// Peers that envelopes are handed to at the same time.
const LOADS_MAX: usize = 16;
/// Envelopes that are asked for at the same time, and peers that are asked for them.
const FETCHES_MAX: usize = 16;
/// Jobs bought elsewhere whose answer somebody asked for here. More are not heard until some are here or closed:
/// whoever asked asks again.
const WISHES_MAX: usize = 1_024;

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

/// What is under way.
enum Begun {
    Look,
    List,
    Load(Load),
    Fetch(Want),
}

enum Done {
    Surveyed(u32, Result<Survey, SurveyError>),
    Handed(Handed),
    Fetched,
    Listed(Result<Vec<Slip>, SurveyError>),
}

/// A peer's question was answered: inputs that were kept, and from whom.
struct Answered {
    from: PeerId,
    inputs: Vec<JobId>,
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
    /// A permit for each peer that may be asked for an envelope.
    permits: Arc<Semaphore>,
    origins: Origins,
    /// Jobs whose requesters come here for the answer.
    bought: BTreeSet<JobId>,
    /// Jobs that were bought elsewhere, and whose answer somebody comes here for.
    wished: BTreeSet<JobId>,
    /// Which of both is looked up next.
    bought_next: Option<JobId>,
    sent_next: Option<JobId>,
    answers: JoinSet<Answered>,
    tasks: JoinSet<Done>,
    begun: HashMap<Id, Begun>,
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
            permits: Arc::new(Semaphore::new(FETCHES_MAX)),
            origins: Origins::default(),
            bought: BTreeSet::new(),
            wished: BTreeSet::new(),
            bought_next: None,
            sent_next: None,
            answers: JoinSet::new(),
            tasks: JoinSet::new(),
            begun: HashMap::new(),
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
                    if self.wished.len() < WISHES_MAX {
                        self.wished.insert(job);
                    }
                }
                Some(answered) = self.answers.join_next() => match answered {
                    Ok(Answered { from, inputs }) => {
                        inputs.into_iter().for_each(|job| self.origins.add(job, from));
                    }
                    Err(error) => error!(%error, "answering a peer about envelopes"),
                },
                Some(ended) = self.tasks.join_next_with_id() => self.on_ended(ended),
            }
            self.start_due();
        }
    }

    /// Reads what lies in the journal: at the start, and when too much came in at once.
    fn list(&mut self) {
        let post = self.carrier.post.clone();
        self.begin(Begun::List, async move { Done::Listed(blocking(&post, |post| post.slips()).await) });
    }

    fn begin(&mut self, begun: Begun, work: impl Future<Output = Done> + Send + 'static) {
        let id = self.tasks.spawn(work).id();
        self.begun.insert(id, begun);
    }

    fn count(&self, is_one: impl Fn(&Begun) -> bool) -> usize {
        self.begun.values().filter(|begun| is_one(begun)).count()
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
        if self.count(|begun| matches!(begun, Begun::Look)) > 0 {
            return;
        }
        let bought = some_after(self.bought.union(&self.wished).copied(), &mut self.bought_next);
        let sent = some_after(self.outbox.jobs().into_iter(), &mut self.sent_next);
        let (carrier, height) = (self.carrier.clone(), self.height);
        self.begin(Begun::Look, async move {
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
            Answered { from, inputs }
        });
    }

    /// Something has ended, perhaps by a panic: then what it had in hand is tried again.
    fn on_ended(&mut self, ended: Result<(Id, Done), JoinError>) {
        let (id, done) = match ended {
            Ok((id, done)) => (id, Some(done)),
            Err(error) => {
                error!(%error, "carrying envelopes");
                (error.id(), None)
            }
        };
        match self.begun.remove(&id) {
            Some(Begun::Load(load)) => {
                self.outbox.returned(&load.place.peer);
                if done.is_none() {
                    load.slips.iter().for_each(|slip| self.outbox.failed(slip, self.height));
                }
            }
            Some(Begun::Fetch(want)) => self.wants.asked(&want, self.height),
            Some(Begun::Look | Begun::List) | None => {}
        }
        if let Some(done) = done {
            self.on_done(done);
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Surveyed(height, Ok(found)) => self.surveyed(height, found),
            Done::Surveyed(_, Err(error)) => warn!(%error, "looking for what is to be carried"),
            Done::Handed(Handed { done, failed }) => {
                done.iter().for_each(|slip| self.outbox.done(slip));
                failed.iter().for_each(|slip| self.outbox.failed(slip, self.height));
            }
            Done::Fetched => {}
            Done::Listed(Ok(slips)) => slips.into_iter().for_each(|slip| self.arrived(slip)),
            Done::Listed(Err(error)) => warn!(%error, "reading what is to be carried"),
        }
    }

    fn surveyed(&mut self, height: u32, mut found: Survey) {
        let lacked = std::mem::take(&mut found.lacked);
        self.wants.update(lacked, |want| found.looked_at(want), height);
        found.paid.iter().for_each(|job| self.outbox.paid(job));
        for job in &found.closed {
            self.outbox.close(job);
            self.origins.close(job);
        }
        for job in found.closed.iter().chain(&found.answered) {
            self.bought.remove(job);
            self.wished.remove(job);
        }
    }

    fn start_due(&mut self) {
        self.start_loads();
        self.start_fetches();
    }

    fn start_loads(&mut self) {
        let loads = LOADS_MAX.saturating_sub(self.count(|begun| matches!(begun, Begun::Load(_))));
        let (book, origins, local) = (&self.book, &self.origins, self.carrier.network.local_peer());
        let find = |slip: &Slip| {
            let announced = book.find(&slip.recipient);
            let came_from = || {
                let origin = origins.of(&slip.job).filter(|_| slip.purpose == Purpose::Answer)?;
                Some(Place { peer: origin, addresses: Vec::new() })
            };
            announced.or_else(came_from).filter(|place| place.peer != local)
        };
        for load in self.outbox.take_due(self.height, (loads, ENVELOPES_MAX), find) {
            let carrier = self.carrier.clone();
            let begun = Begun::Load(load.clone());
            self.begin(begun, async move { Done::Handed(carrier.hand_over(load).await) });
        }
    }

    fn start_fetches(&mut self) {
        let fetches = FETCHES_MAX.saturating_sub(self.count(|begun| matches!(begun, Begun::Fetch(_))));
        for Due { want, holders, attempts } in self.wants.take_due(self.height, fetches) {
            let local = self.carrier.network.local_peer();
            let places = holders.iter().filter_map(|party| self.book.find(party));
            let places: Vec<_> = places.filter(|place| place.peer != local).collect();
            let (carrier, free) = (self.carrier.clone(), Arc::clone(&self.permits));
            self.begin(Begun::Fetch(want), async move {
                let known = carrier.network.peers().await.unwrap_or_default();
                let connected = known.into_iter().filter(|info| info.connected).map(|info| info.peer);
                // At the same time, so that one that does not answer holds nobody up; the first that has it is enough.
                let ask = async |place| {
                    let _permit = free.acquire().await;
                    carrier.fetch(want, place).await
                };
                let asked = in_turn(&want, &places, connected.collect(), attempts).into_iter();
                let mut asked: FuturesUnordered<_> = asked.map(ask).collect();
                while asked.next().await.is_some_and(|is_here| !is_here) {}
                Done::Fetched
            });
        }
    }
}

/// The jobs of inputs that were kept.
fn kept(inputs: Vec<Option<JobId>>, receipts: &[Receipt]) -> Vec<JobId> {
    let kept = inputs.into_iter().zip(receipts).filter(|(_, receipt)| **receipt == Receipt::Kept);
    kept.filter_map(|(job, _)| job).collect()
}
