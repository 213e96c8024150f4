//! What serving does with a shelf and a supply that the tests hold.

use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Mutex as StdMutex;

use super::*;
use crate::chain_spec::ChainSpec;
use crate::ledger;
use assay_runtime::executor::MemoryKv;

/// Holds nothing, and gets nothing.
#[derive(Default)]
struct Empty {
    slow: Option<Slow>,
    given_up: StdMutex<BTreeSet<ModelId>>,
}

/// Makes a look at a model take as long as the test wants.
struct Slow {
    asked: std::sync::mpsc::SyncSender<()>,
    go: StdMutex<std::sync::mpsc::Receiver<()>>,
}

impl Shelf for Empty {
    fn spec(&self, model: &ModelId) -> Result<SpecId, LoadError> {
        if let Some(Slow { asked, go }) = &self.slow {
            asked.send(()).unwrap();
            // Until the test ends.
            let _ = go.lock().unwrap().recv();
        }
        Err(LoadError::NotHere(*model))
    }

    fn load(&self, model: &ModelId, _: &SpecId, _: Vec<AccountId>) -> Result<(), LoadError> {
        Err(LoadError::NotHere(*model))
    }

    fn artifact(&self, _: &ModelId) -> Option<ArtifactId> {
        None
    }

    fn give_up(&self, models: BTreeSet<ModelId>) {
        *self.given_up.lock().unwrap() = models;
    }

    fn holds(&self, _: &ModelId) -> bool {
        false
    }

    fn keep_only(&self, _: &[ModelId]) {}
}

impl Supply for Empty {
    fn bring(&self, artifact: ArtifactId, _: Option<u64>) -> BoxFuture<'_, Result<(), SupplyError>> {
        async move { Err(SupplyError::Away(format!("nobody has {artifact}"))) }.boxed()
    }

    fn share(&self, _: ArtifactId) {}
}

fn serving(shelf: Arc<Empty>) -> Serving<Empty> {
    let spec = ChainSpec::development().unwrap();
    let ledger = ledger::open(MemoryKv::default(), &spec.genesis, ledger::Config::default()).unwrap().handle;
    Serving::new(ledger, shelf, Arc::new(Empty::default()), Vec::new(), wants().1, Judging::Nothing)
}

const MODEL: ModelId = ModelId::from_bytes([3; 32]);

#[tokio::test]
async fn what_cannot_be_brought_or_turns_out_to_be_another_is_tried_again_later_and_not_at_once() {
    let mut serving = serving(Arc::new(Empty::default()));
    serving.fetch(MODEL, 10).await;
    assert_eq!(serving.retry_at, Some(10 + RETRY_BLOCKS), "the ledger does not know it");
    assert!(serving.fetching.is_empty());

    serving.retry_at = None;
    serving.fetching.insert(MODEL);
    serving.fetched(Ok((MODEL, Err(SupplyError::Away("nobody has it".into()))))).await;
    assert_eq!((serving.retry_at, serving.fetching.len()), (Some(RETRY_BLOCKS), 0));

    serving.retry_at = None;
    serving.asked.insert(MODEL, 100);
    serving.fetched(Ok((MODEL, Ok(())))).await;
    assert!(serving.brought.contains(&MODEL));
    serving.fetch(MODEL, 10).await;
    assert_eq!(serving.retry_at, Some(10 + RETRY_BLOCKS), "it came, and is not the model");
    assert!(serving.fetching.is_empty() && serving.brought.is_empty());
}

#[tokio::test]
async fn a_model_of_a_seat_at_large_is_given_up_when_it_may_not_be_fetched_and_while_the_seat_lasts() {
    let shelf = Arc::new(Empty::default());
    let given_up = || shelf.given_up.lock().unwrap().iter().copied().collect::<Vec<_>>();
    let mut serving = serving(Arc::clone(&shelf));
    let too_large = || Ok((MODEL, Err(SupplyError::Refused("it is too large".into()))));
    serving.fetched(too_large()).await;
    assert_eq!(given_up(), [], "no seat waits for it");
    serving.at_large.insert(MODEL, 1_000);
    serving.fetched(Ok((MODEL, Err(SupplyError::Away("nobody has it".into()))))).await;
    assert_eq!(given_up(), [], "somebody may give it in a moment");
    serving.loaded(Ok((MODEL, Err(ServeError::Panicked)))).await;
    assert_eq!(given_up(), [], "it may be loaded in a moment");
    serving.fetched(too_large()).await;
    assert_eq!((serving.retry_at, given_up()), (Some(RETRY_BLOCKS), vec![MODEL]));
    // Nobody here has a seat on the ledger.
    serving.refresh(1).await;
    assert_eq!(given_up(), []);
}

#[tokio::test]
async fn a_model_that_others_chose_keeps_neither_the_start_nor_the_loop_waiting() {
    let (asked, is_asked) = std::sync::mpsc::sync_channel(4);
    let (go, gate) = std::sync::mpsc::sync_channel(1);
    let mut serving =
        serving(Arc::new(Empty { slow: Some(Slow { asked, go: StdMutex::new(gate) }), ..Empty::default() }));
    serving.asked.insert(MODEL, 100);
    serving.prepare().await;
    tokio::task::spawn_blocking(move || is_asked.recv().unwrap()).await.unwrap();
    assert!(serving.loading.contains(&MODEL) && serving.behind.is_empty());
    serving.refresh(1).await;
    assert!(serving.behind.contains(&MODEL), "it is looked at again when it has been loaded");
    drop(go);
    let ended = serving.loads.join_next().await.unwrap();
    serving.behind.clear();
    serving.loaded(ended).await;
    assert_eq!(serving.retry_at, Some(RETRY_BLOCKS), "nobody has it registered");
}
