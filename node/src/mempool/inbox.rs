//! Talking to the pool.

use assay_runtime::{AccountId, Hash};
use sp_runtime::transaction_validity::TransactionTag;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::{Config, Nature, PoolError, Refused, Status, Transaction};

/// What becomes of a transaction, one after the other, ending with a last status.
///
/// It ends early when its reader is so slow that it misses one.
pub type Watch = mpsc::Receiver<Status>;

/// Statuses that wait for the reader of a watch. A transaction changes between ready and future at most when a
/// predecessor comes or goes.
const WATCH_MAX: usize = 16;

/// How much is in the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transactions that can be in the next block.
    pub ready: usize,
    /// Transactions that wait for another one.
    pub future: usize,
    /// Bytes of all, those being checked included.
    pub bytes: usize,
}

/// Who hands a transaction in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody who uses this node, or the node itself.
    Here,
    /// A peer, who tells others by itself.
    Peer,
}

pub(super) enum Message {
    Submit {
        transaction: Transaction,
        origin: Origin,
        answer: Reply<Result<Hash, PoolError>>,
        watch: Option<mpsc::Sender<Status>>,
    },
    Finalized {
        height: u32,
        block: Hash,
        included: Vec<Hash>,
    },
    Rejected(Vec<Hash>),
    Ready {
        bytes_max: usize,
        answer: Reply<Vec<Transaction>>,
    },
    Pending(Reply<Vec<Transaction>>),
    Held {
        hashes: Vec<Hash>,
        answer: Reply<Vec<Transaction>>,
    },
    TagsOf {
        account: AccountId,
        answer: Reply<Vec<TransactionTag>>,
    },
    Counts(Reply<Counts>),
}

type Reply<T> = oneshot::Sender<T>;

/// Speaks to the pool from anywhere.
#[derive(Clone)]
pub struct MempoolHandle {
    inbox: mpsc::Sender<Message>,
    transaction_bytes_max: usize,
    own: broadcast::Sender<Transaction>,
    heights: watch::Receiver<u32>,
}

impl MempoolHandle {
    pub(super) fn teller(&self) -> broadcast::Sender<Transaction> {
        self.own.clone()
    }

    pub(super) fn new(config: &Config, heights: watch::Receiver<u32>) -> (Self, mpsc::Receiver<Message>) {
        let (inbox, messages) = mpsc::channel(config.inbox_max);
        let own = broadcast::channel(config.transactions_max).0;
        (Self { inbox, transaction_bytes_max: config.transaction_bytes_max, own, heights }, messages)
    }

    /// Submits the bytes of a transaction; returns when the ledger has checked it and the pool has taken it.
    ///
    /// # Errors
    /// [`PoolError`] saying why not.
    pub async fn submit(&self, bytes: Vec<u8>) -> Result<Hash, PoolError> {
        let transaction = Transaction::parse(bytes, self.transaction_bytes_max)?;
        self.hand_in(transaction, Origin::Here, None).await
    }

    /// The same for a transaction that a peer passed on: [`Self::own`] does not tell of it.
    ///
    /// # Errors
    /// [`Refused`] saying why not, and what that says of the same bytes elsewhere and later.
    pub async fn submit_of_peer(&self, bytes: Vec<u8>) -> Result<Hash, Refused> {
        let parsed = Transaction::parse(bytes, self.transaction_bytes_max);
        // Of what cannot be read, the nature makes no difference.
        let transaction = parsed.map_err(|error| Refused::new(error, Nature::Step))?;
        let nature = transaction.nature();
        self.hand_in(transaction, Origin::Peer, None).await.map_err(|error| Refused::new(error, nature))
    }

    /// The same, and follows what becomes of it.
    ///
    /// # Errors
    /// [`PoolError`] saying why not.
    pub async fn submit_and_watch(&self, bytes: Vec<u8>) -> Result<(Hash, Watch), PoolError> {
        let (sender, watch) = mpsc::channel(WATCH_MAX);
        let transaction = Transaction::parse(bytes, self.transaction_bytes_max)?;
        let hash = self.hand_in(transaction, Origin::Here, Some(sender)).await?;
        Ok((hash, watch))
    }

    /// Every transaction that was handed in at this node, from now on, once the pool has taken it. A receiver that lags
    /// is told how many it missed.
    pub fn own(&self) -> broadcast::Receiver<Transaction> {
        self.own.subscribe()
    }

    /// The height of the last block that the pool was told of.
    pub fn heights(&self) -> watch::Receiver<u32> {
        self.heights.clone()
    }

    async fn hand_in(
        &self,
        transaction: Transaction,
        origin: Origin,
        watch: Option<mpsc::Sender<Status>>,
    ) -> Result<Hash, PoolError> {
        let (answer, answered) = oneshot::channel();
        self.inbox.try_send(Message::Submit { transaction, origin, answer, watch }).map_err(|error| {
            match error {
                mpsc::error::TrySendError::Full(_) => PoolError::Busy,
                mpsc::error::TrySendError::Closed(_) => PoolError::Stopped,
            }
        })?;
        answered.await.map_err(|_| PoolError::Stopped)?
    }

    /// Tells the pool of a finalized block: what is in it leaves the pool. Waits for room in the inbox.
    ///
    /// # Errors
    /// [`PoolError::Stopped`].
    pub async fn finalized(&self, height: u32, block: Hash, included: Vec<Hash>) -> Result<(), PoolError> {
        self.send(Message::Finalized { height, block, included }).await
    }

    /// Tells the pool of transactions that turned out invalid while a block was built.
    ///
    /// # Errors
    /// [`PoolError::Stopped`].
    pub async fn rejected(&self, hashes: Vec<Hash>) -> Result<(), PoolError> {
        self.send(Message::Rejected(hashes)).await
    }

    /// Transactions for a block, in its order, up to `bytes_max` bytes.
    ///
    /// # Errors
    /// [`PoolError::Stopped`].
    pub async fn ready(&self, bytes_max: usize) -> Result<Vec<Transaction>, PoolError> {
        self.ask(|answer| Message::Ready { bytes_max, answer }).await
    }

    /// All transactions that can be in the next blocks, in their order.
    ///
    /// # Errors
    /// [`PoolError::Stopped`].
    pub async fn pending(&self) -> Result<Vec<Transaction>, PoolError> {
        self.ask(Message::Pending).await
    }

    /// Those of these transactions that are still in the pool.
    ///
    /// # Errors
    /// [`PoolError::Stopped`].
    pub async fn held(&self, hashes: Vec<Hash>) -> Result<Vec<Transaction>, PoolError> {
        self.ask(|answer| Message::Held { hashes, answer }).await
    }

    /// Tags that the account's transactions in the pool provide.
    ///
    /// # Errors
    /// [`PoolError::Stopped`].
    pub async fn tags_of(&self, account: AccountId) -> Result<Vec<TransactionTag>, PoolError> {
        self.ask(|answer| Message::TagsOf { account, answer }).await
    }

    /// How much is in the pool.
    ///
    /// # Errors
    /// [`PoolError::Stopped`].
    pub async fn counts(&self) -> Result<Counts, PoolError> {
        self.ask(Message::Counts).await
    }

    async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, PoolError> {
        let (answer, answered) = oneshot::channel();
        self.send(message(answer)).await?;
        answered.await.map_err(|_| PoolError::Stopped)
    }

    async fn send(&self, message: Message) -> Result<(), PoolError> {
        self.inbox.send(message).await.map_err(|_| PoolError::Stopped)
    }
}
