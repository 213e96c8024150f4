//! A chain of one market: the node's ledger, its authority and its receipts, over a store in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use assay_manifest::{Digest32, JobId};
use assay_node::consensus::{Solo, TransactionSource, ValidatorKeys};
use assay_node::ledger::{self, FinalizedBlock, LedgerHandle};
use assay_node::receipts::{IndexError, Receipts, SettlementIndex};
use assay_node::worker::Judge;
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::job::Party;
use assay_protocol::params::Params;
use assay_protocol::party::AccountBytes;
use assay_protocol::receipt::{Receipt, Trust};
use assay_protocol::seal::SealingSecret;
use assay_runtime::executor::{MemoryKv, Retention};
use assay_runtime::{
    AccountId, Address, Balance, Endowment, GenesisSpec, Hash, Runtime, RuntimeCall, SignedPayload,
    UncheckedExtrinsic, signed_extension, signed_implicit,
};
use codec::{Decode, DecodeAll, Encode};
use ed25519_dalek::SigningKey;
use frame_support::PalletId;
use pallet_assay_validators::ValidatorInfo;
use sp_core::{Pair, sr25519};
use sp_runtime::traits::AccountIdConversion;
use tokio::runtime::Runtime as Tokio;
use tokio::sync::broadcast;

use crate::random::bytes;

/// The votes of the validator that makes the blocks; each liar has one.
const AUTHORITY_VOTES: u64 = 8;

/// Main's money with short waits: no window enters an amount.
pub const PARAMS: Params = Params {
    accept_window: 6,
    reveal_window: 6,
    concede_window: 6,
    verdict_window: 12,
    challenge_window: 8,
    data_window: 6,
    answer_window: 6,
    pause_window: 20,
    offer_delay: 1,
    unbonding_window: 60,
    ..Params::MAIN
};

/// The chain and the services that the market uses.
pub struct Net {
    tokio: Tokio,
    pub ledger: LedgerHandle,
    validator: Solo<Pending>,
    pending: Pending,
    blocks: broadcast::Receiver<Arc<FinalizedBlock>>,
    receipts: Receipts,
    pub consensus_key: SigningKey,
    /// Opens what is sealed to the validator that makes the blocks.
    pub judge_secret: SealingSecret,
    validators: Vec<ValidatorInfo>,
}

/// A block, and the transactions that it left out as invalid.
pub struct Made {
    pub block: Arc<FinalizedBlock>,
    pub refused: Vec<Hash>,
}

/// The transactions of the next block.
#[derive(Clone, Default)]
struct Pending(Arc<Mutex<(Vec<UncheckedExtrinsic>, Vec<Hash>)>>);

impl TransactionSource for Pending {
    async fn ready(&self) -> Vec<UncheckedExtrinsic> {
        std::mem::take(&mut self.0.lock().expect("a lock").0)
    }

    async fn rejected(&self, hashes: Vec<Hash>) {
        self.0.lock().expect("a lock").1 = hashes;
    }

    // No schedule here lets a validator vote twice.
    async fn convict(&self, _proof: assay_protocol::vote::Equivocation) {}
}

/// The keys of one of the validators that lie.
pub fn liar_key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&bytes(u64::from(number), "liar", 0))
}

pub fn pot() -> AccountId {
    PalletId(*b"asy/vpot").into_account_truncating()
}

impl Net {
    /// A chain on which these accounts have these balances.
    pub fn open(seed: u64, liars: u8, endowments: Vec<Endowment>) -> Self {
        let consensus_key = SigningKey::from_bytes(&bytes(seed, "consensus", 0));
        let vrf = sr25519::Pair::from_seed(&bytes(seed, "vrf", 0));
        let judge_secret = SealingSecret::from_bytes(bytes(seed, "judge", 0));
        let info = |key: &SigningKey, vrf_key: &sr25519::Pair, power| ValidatorInfo {
            account: AccountId::new(key.verifying_key().to_bytes()),
            encryption_key: judge_secret.public(),
            key: Digest32::from_bytes(key.verifying_key().to_bytes()),
            vrf_key: Digest32::from_bytes(vrf_key.public().0),
            power,
        };
        let mut validators = vec![info(&consensus_key, &vrf, AUTHORITY_VOTES)];
        validators.extend((0..liars).map(|n| {
            info(&liar_key(n), &sr25519::Pair::from_seed(&bytes(seed, "liar vrf", u64::from(n))), 1)
        }));
        validators.sort_by_key(|validator| validator.key);
        let all = validators.clone();
        let spec = GenesisSpec { seed: format!("market {seed}"), validators, endowments, params: PARAMS };
        let tokio = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let config = ledger::Config { retention: Retention::Archive, readers: 1, ..Default::default() };
        let ledger = ledger::open(MemoryKv::default(), &spec, config).expect("a ledger").handle;
        let pending = Pending::default();
        let keys = ValidatorKeys { consensus: consensus_key.clone(), vrf, encryption: judge_secret.clone() };
        let validator = Solo::new(keys, ledger.clone(), pending.clone());
        let receipts = Receipts::new(ledger.clone(), Arc::new(Index::default()));
        let blocks = ledger.subscribe();
        Self {
            tokio,
            ledger,
            validator,
            pending,
            blocks,
            receipts,
            consensus_key,
            judge_secret,
            validators: all,
        }
    }

    pub fn height(&self) -> u32 {
        self.ledger.head().number
    }

    pub fn genesis(&self) -> Digest32 {
        Digest32::from_bytes(self.ledger.genesis().0)
    }

    /// Makes a block of these transactions, in order, or of those that fit.
    pub fn block(&mut self, transactions: Vec<UncheckedExtrinsic>) -> Made {
        *self.pending.0.lock().expect("a lock") = (transactions, Vec::new());
        self.tokio.block_on(self.validator.make_block()).expect("a block");
        let refused = std::mem::take(&mut self.pending.0.lock().expect("a lock").1);
        Made { block: self.blocks.try_recv().expect("the block that was made"), refused }
    }

    pub fn query<T: DecodeAll>(&self, function: &'static str, args: impl Encode) -> T {
        self.tokio.block_on(self.ledger.query(None, function, args)).expect("an answer")
    }

    fn stored<T: Decode>(&self, key: Vec<u8>) -> Option<T> {
        let bytes = self.tokio.block_on(self.ledger.storage(None, key)).expect("the store answers");
        bytes.map(|bytes| T::decode(&mut bytes.as_slice()).expect("a value of its type"))
    }

    /// Everything that the account owns: free, and held as stake, escrow or deposit.
    pub fn wealth(&self, who: &AccountBytes) -> Balance {
        type Info = frame_system::AccountInfo<u32, pallet_balances::AccountData<Balance>>;
        let key = frame_system::Account::<Runtime>::hashed_key_for(AccountId::from(*who));
        self.stored::<Info>(key).map_or(0, |info| info.data.free + info.data.reserved)
    }

    /// The package that was posted for a party.
    pub fn package(&self, job: &JobId, party: Party) -> Option<Vec<u8>> {
        self.stored(pallet_assay_jobs::Packages::<Runtime>::hashed_key_for(job, party))
    }

    /// The validators, as seats seal disputed work to them.
    pub fn judges(&self) -> Vec<Judge> {
        let judge = |info: &ValidatorInfo| Judge { key: info.key, encryption_key: info.encryption_key };
        self.validators.iter().map(judge).collect()
    }

    pub fn issuance(&self) -> Balance {
        self.stored(pallet_balances::TotalIssuance::<Runtime>::hashed_key().to_vec()).expect("an issuance")
    }

    /// The public receipt of a job that has come to its end.
    pub fn receipt(&self, job: &JobId) -> Result<Receipt, String> {
        let receipt = self.tokio.block_on(self.receipts.receipt(job)).map_err(|error| error.to_string())?;
        receipt.ok_or_else(|| "there is none".into())
    }

    /// Entries of the log from an index on.
    pub fn log_from(&self, index: u64) -> Vec<Vec<u8>> {
        self.tokio.block_on(self.ledger.log_entries(index, 4_096)).expect("the log answers")
    }

    /// What a buyer trusts.
    pub fn trust(&self) -> Trust {
        let validators: ValidatorSet = self.query("LedgerApi_validators", ());
        Trust::of_genesis(self.genesis(), validators)
    }

    /// Signs a call; `nonce` is the account's next.
    pub fn sign(&self, who: &sr25519::Pair, nonce: u32, call: RuntimeCall) -> UncheckedExtrinsic {
        let implicit = signed_implicit(self.ledger.genesis());
        let payload = SignedPayload::from_raw(call, signed_extension(nonce, 0), implicit);
        let signature = payload.using_encoded(|bytes| who.sign(bytes));
        let (call, extension, _) = payload.deconstruct();
        UncheckedExtrinsic::new_signed(call, Address::Id(who.public().into()), signature.into(), extension)
    }

    pub fn nonce(&self, who: &sr25519::Pair) -> u32 {
        self.query("AccountNonceApi_account_nonce", AccountId::from(who.public()))
    }
}

/// Where the log holds the settlement of each job.
#[derive(Default)]
struct Index(Mutex<(HashMap<JobId, u64>, u64)>);

impl SettlementIndex for Index {
    fn next(&self) -> Result<u64, IndexError> {
        Ok(self.0.lock().expect("a lock").1)
    }

    fn extend(&self, settlements: &[(JobId, u64)], next: u64) -> Result<(), IndexError> {
        let mut index = self.0.lock().expect("a lock");
        index.0.extend(settlements.iter().copied());
        index.1 = next;
        Ok(())
    }

    fn find(&self, job: &JobId) -> Result<Option<u64>, IndexError> {
        Ok(self.0.lock().expect("a lock").0.get(job).copied())
    }
}
