//! Places in the market's network that are not a node's: for whoever takes part in it in a way of its own.

use std::path::Path;
use std::sync::{Arc, Mutex};

use assay_engine::Engine;
use assay_manifest::{Digest32, JobId};
use assay_node::adapters::{Journal, Market, Models};
use assay_node::data_dir::DataDir;
use assay_node::network::{Announcing, Courier, Home, Incoming, Network, NetworkHandle, Presence, Wish};
use assay_node::supervisor::{Supervisor, told_to_stop};
use assay_protocol::party::AccountBytes;
use assay_store::Store;
use codec::Encode;
use tokio::sync::watch;

use crate::region::{Region, Running, engine};

/// A node's announcements and courier, with a journal of their own, and the ledger of a node.
pub struct Stall {
    pub journal: Journal,
    pub heights: watch::Receiver<u32>,
    wish: Wish,
}

impl Stall {
    /// Opens it with data in `dir`; its courier keeps what is for `hosted`, and it says that `own` are here.
    pub fn open(
        region: &mut Region,
        (node, services): (&Running, &mut Supervisor),
        dir: &Path,
        own: Vec<Announcing>,
        hosted: Vec<AccountBytes>,
    ) -> Self {
        let data = DataDir::create(dir, &region.spec, None).unwrap();
        let config = region.market(&data);
        let heights = heights(services, node);
        let (swarm, network, incoming) = Network::start(config, &genesis(node)).unwrap();
        let Incoming { announcements, envelopes, book, .. } = incoming;
        let nothing = Arc::new(Store::open(&data.models()).unwrap());
        let models = Arc::new(Models::new(Engine::new(engine()).unwrap(), nothing));
        let market = Market { ledger: node.ledger.clone(), models, heights: heights.clone() };
        let journal = Journal::open(&data.journal()).unwrap();
        let (presence, book) = Presence::new(network.clone(), market.clone(), own, announcements, book);
        let home = Home { hosted, judge: None };
        let (courier, wish) = Courier::new(network, envelopes, (market, journal.clone()), book, home);
        let stopping = services.stopping();
        services.spawn("network", unfailing(swarm.run(stopping.clone())));
        services.spawn("presence", unfailing(presence.run(stopping.clone())));
        services.spawn("courier", unfailing(courier.run(stopping)));
        Self { journal, heights, wish }
    }

    /// Asks for a job's sealed answer, as the node of its requester would, until it is here.
    pub async fn fetch_answer(&mut self, job: JobId) {
        while self.journal.answers(&job).unwrap().is_empty() {
            self.wish.answer_of(job);
            self.heights.changed().await.unwrap();
        }
    }
}

/// Listens to what nodes say to everybody, and to whatever they hand over unasked.
pub struct Ears {
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Ears {
    pub fn open(region: &mut Region, (node, services): (&Running, &mut Supervisor), dir: &Path) -> Self {
        let data = DataDir::create(dir, &region.spec, None).unwrap();
        let (swarm, network, incoming) = Network::start(region.market(&data), &genesis(node)).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        services.spawn("network", unfailing(swarm.run(services.stopping())));
        services
            .spawn("ears", unfailing(listen((network, incoming), Arc::clone(&heard), services.stopping())));
        Self { heard }
    }

    /// Every message so far.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }
}

/// The network ends with its last handle.
async fn listen(
    (_network, mut incoming): (NetworkHandle, Incoming),
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let bytes = tokio::select! {
            Some(gossip) = incoming.transactions.recv() => gossip.bytes,
            Some(gossip) = incoming.announcements.recv() => gossip.bytes,
            Some(asked) = incoming.envelopes.recv() => asked.question.encode(),
            Some(asked) = incoming.book.recv() => asked.question.encode(),
            () = told_to_stop(&mut stop) => return,
        };
        heard.lock().unwrap().push(bytes);
    }
}

pub async fn unfailing(task: impl Future<Output = ()>) -> Result<(), std::convert::Infallible> {
    task.await;
    Ok(())
}

fn genesis(node: &Running) -> Digest32 {
    Digest32::from_bytes(node.ledger.genesis().0)
}

/// The heights of a node's ledger, as services want them.
fn heights(services: &mut Supervisor, node: &Running) -> watch::Receiver<u32> {
    let mut heads = node.ledger.heads();
    let (told, heights) = watch::channel(heads.borrow().number);
    let mut stop = services.stopping();
    services.spawn("heights", async move {
        loop {
            tokio::select! {
                changed = heads.changed() => changed?,
                () = told_to_stop(&mut stop) => return Ok::<_, watch::error::RecvError>(()),
            }
            told.send_replace(heads.borrow_and_update().number);
        }
    });
    heights
}
