//! What other services hold of the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use assay_manifest::merkle::InclusionProof;
use assay_protocol::certificate::{CommitCertificate, ValidatorSet};
use assay_protocol::receipt::HandOver;
use assay_runtime::executor::{ChainError, Kv, Reader};
use assay_runtime::{Block, BlockNumber, Hash, Header, RuntimeEvent, UncheckedExtrinsic};
use codec::{DecodeAll, Encode};
use frame_system::EventRecord;
use sp_runtime::DigestItem;
use sp_runtime::transaction_validity::TransactionValidity;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// The ledger could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// It answered with an error.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It has stopped.
    #[error("asking the ledger: it has stopped")]
    Stopped,
    /// More is asked than it can answer.
    #[error("asking the ledger: too many requests are waiting")]
    Busy,
    /// The runtime's answer is not what this binary expects.
    #[error("reading the answer of {function}: {cause}")]
    Foreign {
        /// The runtime function.
        function: &'static str,
        /// What went wrong.
        cause: String,
    },
}

/// A block as it comes down to everyone.
#[derive(Clone, Debug)]
pub struct FinalizedBlock {
    /// Its header.
    pub header: Header,
    /// Its hash.
    pub hash: Hash,
    /// Hashes of its transactions, in order.
    pub extrinsics: Vec<Hash>,
    /// What happened in it.
    pub events: Vec<EventRecord<RuntimeEvent, Hash>>,
    /// Keys that it changed, with their new values.
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Its certificate.
    pub certificate: CommitCertificate,
}

/// A block that was built but is not committed.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// The block.
    pub block: Block,
    /// Hashes of transactions that were left out as invalid.
    pub rejected: Vec<Hash>,
}

pub(super) type AnyKv = Arc<dyn Kv>;
pub(super) type Reply<T> = oneshot::Sender<Result<T, ChainError>>;
pub(super) type Read = Box<dyn FnOnce(&Reader<AnyKv>) + Send>;

/// What only the writer may do.
pub(super) enum Command {
    Propose {
        now_ms: u64,
        pre_runtime: Vec<DigestItem>,
        extrinsics: Vec<UncheckedExtrinsic>,
        reply: Reply<Proposed>,
    },
    Verify {
        block: Box<Block>,
        reply: Reply<()>,
    },
    Import {
        block: Box<Block>,
        certificate: CommitCertificate,
        reply: Reply<()>,
    },
    AddVotes {
        certificate: CommitCertificate,
        reply: Reply<()>,
    },
}

/// The ledger, as other services hold it.
#[derive(Clone)]
pub struct LedgerHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) readers: Vec<mpsc::Sender<Read>>,
    /// A reader that only [`Self::reserved`] handles use.
    pub(super) reserved: mpsc::Sender<Read>,
    /// A reader that only [`Self::checking`] handles use.
    pub(super) checking: mpsc::Sender<Read>,
    /// Whether a read waits until its reader has room, instead of being refused.
    pub(super) waits: bool,
    pub(super) turn: Arc<AtomicUsize>,
    pub(super) head: watch::Receiver<Header>,
    pub(super) blocks: broadcast::Sender<Arc<FinalizedBlock>>,
    pub(super) genesis: Hash,
    pub(super) base: BlockNumber,
}

impl LedgerHandle {
    /// The same ledger through a reader of its own, which refuses nothing: however many reads others ask for,
    /// consensus and worker are answered.
    #[must_use]
    pub fn reserved(&self) -> Self {
        Self { readers: vec![self.reserved.clone()], waits: true, ..self.clone() }
    }

    /// The same ledger through the reader that checks transactions: however many come in, nobody else waits.
    #[must_use]
    pub fn checking(&self) -> Self {
        Self { readers: vec![self.checking.clone()], ..self.clone() }
    }

    /// The finalized head.
    pub fn head(&self) -> Header {
        self.head.borrow().clone()
    }

    /// The finalized head as it moves.
    pub fn heads(&self) -> watch::Receiver<Header> {
        self.head.clone()
    }

    /// The hash of block 0.
    pub const fn genesis(&self) -> Hash {
        self.genesis
    }

    /// The lowest height whose block is here: that of the snapshot that the ledger began with, or 0.
    pub const fn base(&self) -> BlockNumber {
        self.base
    }

    /// Every block from now on. A receiver that lags is told how many it missed.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<FinalizedBlock>> {
        self.blocks.subscribe()
    }

    /// Builds a block on the head.
    ///
    /// # Errors
    /// [`LedgerError`] when the ledger has stopped or the store fails.
    pub async fn propose(
        &self,
        now_ms: u64,
        pre_runtime: Vec<DigestItem>,
        extrinsics: Vec<UncheckedExtrinsic>,
    ) -> Result<Proposed, LedgerError> {
        self.command(|reply| Command::Propose { now_ms, pre_runtime, extrinsics, reply }).await
    }

    /// Verifies a block that would follow the head by executing it, and keeps the result for [`Self::import`].
    ///
    /// # Errors
    /// [`LedgerError`] when the block is invalid, or the store fails.
    pub async fn verify(&self, block: Block) -> Result<(), LedgerError> {
        self.command(|reply| Command::Verify { block: Box::new(block), reply }).await
    }

    /// Verifies a block by execution, unless [`Self::verify`] just did, and makes it the head.
    ///
    /// # Errors
    /// [`LedgerError`] when the block or its certificate is invalid, or the store fails.
    pub async fn import(&self, block: Block, certificate: CommitCertificate) -> Result<(), LedgerError> {
        self.command(|reply| Command::Import { block: Box::new(block), certificate, reply }).await
    }

    /// Remembers votes for the head that came after it was decided: a block that is built on it carries them.
    ///
    /// # Errors
    /// [`LedgerError`] when the certificate is not the head's, or not right, or the store fails.
    pub async fn add_votes(&self, certificate: CommitCertificate) -> Result<(), LedgerError> {
        self.command(|reply| Command::AddVotes { certificate, reply }).await
    }

    async fn command<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| LedgerError::Stopped)?;
        Ok(answer.await.map_err(|_| LedgerError::Stopped)??)
    }

    /// Runs a read on a reader's thread.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] when too many reads are waiting, unless the handle is a [`Self::reserved`] one; whatever
    /// the read answers.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader<AnyKv>) -> Result<T, ChainError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let job: Read = Box::new(move |reader| drop(reply.send(read(reader))));
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.readers.len().max(1);
        let reader = self.readers.get(turn).ok_or(LedgerError::Stopped)?;
        if self.waits {
            reader.send(job).await.map_err(|_| LedgerError::Stopped)?;
        } else {
            reader.try_send(job).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => LedgerError::Busy,
                mpsc::error::TrySendError::Closed(_) => LedgerError::Stopped,
            })?;
        }
        Ok(answer.await.map_err(|_| LedgerError::Stopped)??)
    }

    /// Calls a runtime function by name at a block, the head by default.
    ///
    /// # Errors
    /// [`LedgerError`] for unknown functions and blocks, bad arguments, or a panic inside.
    pub async fn call(
        &self,
        at: Option<Hash>,
        function: String,
        args: Vec<u8>,
    ) -> Result<Vec<u8>, LedgerError> {
        self.read(move |reader| reader.at(at)?.call(&function, &args)).await
    }

    /// The same for callers from outside: only functions whose work is bounded by their arguments.
    ///
    /// # Errors
    /// [`LedgerError`] as for [`Self::call`], and for functions that read without bound.
    pub async fn call_bounded(
        &self,
        at: Option<Hash>,
        function: String,
        args: Vec<u8>,
    ) -> Result<Vec<u8>, LedgerError> {
        self.read(move |reader| reader.at(at)?.call_bounded(&function, &args)).await
    }

    /// Calls a runtime function and decodes its answer.
    ///
    /// # Errors
    /// [`LedgerError`] as for [`Self::call`], or when the answer cannot be decoded.
    pub async fn query<T: DecodeAll>(
        &self,
        at: Option<Hash>,
        function: &'static str,
        args: impl Encode,
    ) -> Result<T, LedgerError> {
        let answer = self.call(at, function.into(), args.encode()).await?;
        T::decode_all(&mut answer.as_slice())
            .map_err(|error| LedgerError::Foreign { function, cause: error.to_string() })
    }

    /// A storage value.
    ///
    /// # Errors
    /// [`LedgerError`] for unknown or pruned blocks.
    pub async fn storage(&self, at: Option<Hash>, key: Vec<u8>) -> Result<Option<Vec<u8>>, LedgerError> {
        self.read(move |reader| reader.at(at)?.storage(&key)).await
    }

    /// Up to `limit` keys with `prefix` after `after`, in order.
    ///
    /// # Errors
    /// [`LedgerError`] for unknown or pruned blocks.
    pub async fn keys_paged(
        &self,
        at: Option<Hash>,
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.read(move |reader| reader.at(at)?.keys(&prefix, after.as_deref(), limit)).await
    }

    /// The block that was read at, and trie nodes that prove the values of `keys`.
    ///
    /// # Errors
    /// [`LedgerError`] for unknown or pruned blocks.
    pub async fn read_proof(
        &self,
        at: Option<Hash>,
        keys: Vec<Vec<u8>>,
    ) -> Result<(Hash, Vec<Vec<u8>>), LedgerError> {
        self.read(move |reader| {
            let lease = reader.at(at)?;
            Ok((lease.header().hash(), lease.prove(&keys)?))
        })
        .await
    }

    /// A block.
    ///
    /// # Errors
    /// [`LedgerError`] when the store fails.
    pub async fn block(&self, hash: Hash) -> Result<Option<Block>, LedgerError> {
        self.read(move |reader| reader.block(hash)).await
    }

    /// The hash of a height.
    ///
    /// # Errors
    /// [`LedgerError`] when the store fails.
    pub async fn hash_of(&self, height: BlockNumber) -> Result<Option<Hash>, LedgerError> {
        self.read(move |reader| reader.hash_of(height)).await
    }

    /// A block's certificate.
    ///
    /// # Errors
    /// [`LedgerError`] when the store fails.
    pub async fn certificate(&self, hash: Hash) -> Result<Option<CommitCertificate>, LedgerError> {
        self.read(move |reader| reader.certificate(hash)).await
    }

    /// Who decides a height, also one long past.
    ///
    /// # Errors
    /// [`LedgerError`] when the store fails.
    pub async fn validators_of(&self, height: BlockNumber) -> Result<ValidatorSet, LedgerError> {
        self.read(move |reader| reader.validators_of(height)).await
    }

    /// The blocks after which others decided, up to the validators of a height; in the order of their heights, and at
    /// most so many bytes.
    ///
    /// # Errors
    /// [`LedgerError`] when there are more, or the store fails.
    pub async fn hand_overs(
        &self,
        until: BlockNumber,
        size_bytes_max: usize,
    ) -> Result<Vec<HandOver>, LedgerError> {
        self.read(move |reader| reader.hand_overs_within(until, size_bytes_max)).await
    }

    /// What happened in a block.
    ///
    /// # Errors
    /// [`LedgerError`] when the block is unknown or the store fails.
    pub async fn events(&self, hash: Hash) -> Result<Vec<EventRecord<RuntimeEvent, Hash>>, LedgerError> {
        let bytes = self.read(move |reader| reader.events(hash)).await?;
        decode_events(&bytes.ok_or(ChainError::UnknownBlock(hash))?).map_err(LedgerError::Chain)
    }

    /// Up to `limit` entries of the log, from an index on.
    ///
    /// # Errors
    /// [`LedgerError`] when the store fails.
    pub async fn log_entries(&self, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.read(move |reader| reader.log_entries(from, limit)).await
    }

    /// Proves the log entry at `index` in the log of the first `size` entries.
    ///
    /// # Errors
    /// [`LedgerError`] when the log is shorter or the store fails.
    pub async fn log_inclusion(&self, index: u64, size: u64) -> Result<InclusionProof, LedgerError> {
        self.read(move |reader| reader.log_inclusion(index, size)).await
    }

    /// Whether a transaction would be valid on the head.
    ///
    /// # Errors
    /// [`LedgerError`] when the bytes are no transaction, or nested too deeply.
    pub async fn validate(&self, extrinsic: Vec<u8>) -> Result<TransactionValidity, LedgerError> {
        self.read(move |reader| reader.at(None)?.validate(&extrinsic)).await
    }
}

pub(super) fn decode_events(bytes: &[u8]) -> Result<Vec<EventRecord<RuntimeEvent, Hash>>, ChainError> {
    DecodeAll::decode_all(&mut &*bytes).map_err(|error| ChainError::Corrupt(format!("events: {error}")))
}
