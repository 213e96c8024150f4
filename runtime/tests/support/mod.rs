//! A chain with one authority, driven block by block.

#![allow(dead_code)] // each test binary uses its own part

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use assay_manifest::{ArtifactId, Digest32};
use assay_protocol::certificate::{CommitCertificate, ValidatorSet, ValidatorSignature};
use assay_protocol::params::Params;
use assay_protocol::seal::SealingSecret;
use assay_protocol::signature::Signature;
use assay_protocol::units::Height;
use assay_runtime::executor::{Chain, ChainError, Executed, Kv, MemoryKv, Proposal, Retention};
use assay_runtime::own_extrinsics;
use assay_runtime::{
    AccountId, Address, Balance, Block, Endowment, GenesisSpec, Hash, RuntimeCall, RuntimeEvent,
    SignedPayload, UNIT, UncheckedExtrinsic, signed_extension, signed_implicit,
};
use codec::{Decode, DecodeAll, Encode};
use ed25519_dalek::{Signer, SigningKey};
use frame_system::EventRecord;
use pallet_assay_validators::{ValidatorInfo, vrf_input, vrf_sign};
use sp_core::{Pair, sr25519};
use sp_keyring::Sr25519Keyring;

/// Milliseconds of block 0.
const START_MS: u64 = 1_800_000_000_000;

/// Seed of the authority's part of the beacon.
pub const VRF_SEED: [u8; 32] = [43; 32];

/// A chain with its authority's keys.
pub struct Network<K: Kv = MemoryKv> {
    /// The chain.
    pub chain: Chain<K>,
    authority: SigningKey,
    vrf: sr25519::Pair,
    /// Validators whose votes nobody sees.
    pub absent: BTreeSet<Digest32>,
}

pub fn authority() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

pub fn vrf_key() -> sr25519::Pair {
    sr25519::Pair::from_seed(&VRF_SEED)
}

/// The secret to which disputed work is sealed.
pub fn referee_secret() -> SealingSecret {
    SealingSecret::from_bytes([44; 32])
}

pub fn genesis() -> GenesisSpec {
    GenesisSpec {
        seed: "tests".into(),
        validators: vec![ValidatorInfo {
            account: founder().public().into(),
            key: Digest32::from_bytes(authority().verifying_key().to_bytes()),
            vrf_key: Digest32::from_bytes(vrf_key().public().0),
            encryption_key: referee_secret().public(),
            power: 1,
        }],
        endowments: accounts()
            .into_iter()
            .map(|account| Endowment { account, amount: 1_000_000 * UNIT })
            .collect(),
        params: Params { offer_delay: 1, ..Params::DEVELOPMENT },
    }
}

/// Validators of [`town`].
pub const VALIDATORS: u8 = 4;

/// A validator of [`town`]; the first is the authority, which decides alone on other chains.
pub fn validator(n: u8) -> SigningKey {
    if n == 0 { authority() } else { SigningKey::from_bytes(&[200 + n; 32]) }
}

pub fn validator_key(n: u8) -> Digest32 {
    Digest32::from_bytes(validator(n).verifying_key().to_bytes())
}

/// The account of a validator of [`town`].
pub fn founder_of(n: u8) -> sr25519::Pair {
    if n == 0 { founder() } else { sr25519::Pair::from_string(&format!("//Founder//{n}"), None).unwrap() }
}

/// A chain whose validators have one vote each, and tokens for fees.
pub fn town() -> GenesisSpec {
    let mut spec = genesis();
    for n in 1..VALIDATORS {
        spec.validators.push(ValidatorInfo {
            account: founder_of(n).public().into(),
            key: validator_key(n),
            vrf_key: Digest32::from_bytes(sr25519::Pair::from_seed(&[200 + n; 32]).public().0),
            encryption_key: SealingSecret::from_bytes([200 + n; 32]).public(),
            power: 1,
        });
    }
    let fees = |n| Endowment { account: founder_of(n).public().into(), amount: UNIT };
    spec.endowments.extend((0..VALIDATORS).map(fees));
    spec
}

/// The account of the only validator.
pub fn founder() -> sr25519::Pair {
    sr25519::Pair::from_string("//Founder", None).unwrap()
}

pub fn accounts() -> Vec<AccountId> {
    let known = Sr25519Keyring::well_known().map(|key| key.to_account_id());
    known.chain((0..12).map(|n| provider(n).public().into())).collect()
}

pub fn provider(n: u8) -> sr25519::Pair {
    sr25519::Pair::from_string(&format!("//Provider//{n}"), None).unwrap()
}

pub fn alice() -> sr25519::Pair {
    Sr25519Keyring::Alice.pair()
}

impl Network<MemoryKv> {
    pub fn new() -> Self {
        Self::open(MemoryKv::default(), Retention::Archive).unwrap()
    }
}

impl<K: Kv> Network<K> {
    pub fn open(kv: K, retention: Retention) -> Result<Self, ChainError> {
        Self::with(kv, &genesis(), retention)
    }

    pub fn with(kv: K, genesis: &GenesisSpec, retention: Retention) -> Result<Self, ChainError> {
        let chain = Chain::open(kv, genesis, retention)?;
        Ok(Self { chain, authority: authority(), vrf: vrf_key(), absent: BTreeSet::new() })
    }

    pub fn genesis_digest(&self) -> Digest32 {
        Digest32::from_bytes(self.chain.genesis().0)
    }

    pub fn call<T: Decode>(&self, function: &str, args: impl Encode) -> T {
        self.try_call(function, args).unwrap()
    }

    pub fn try_call<T: Decode>(&self, function: &str, args: impl Encode) -> Result<T, ChainError> {
        let answer = self.chain.reader().at(None)?.call(function, &args.encode())?;
        Ok(T::decode_all(&mut answer.as_slice()).unwrap())
    }

    pub fn propose(&self, extrinsics: Vec<UncheckedExtrinsic>) -> Result<Proposal, ChainError> {
        let height = self.chain.head().number + 1;
        let previous: Option<Digest32> = self.try_call("LedgerApi_randomness", height - 1)?;
        let input = vrf_input(&self.genesis_digest(), height, &previous.unwrap());
        let item = vrf_sign(&self.vrf, self.position()?, input);
        self.chain.propose(START_MS + u64::from(height) * 1_000, vec![item], extrinsics)
    }

    /// The authority's place among the validators of the next height.
    fn position(&self) -> Result<u32, ChainError> {
        let set: ValidatorSet = self.try_call("LedgerApi_validators", ())?;
        let place = set.validators().iter().position(|validator| validator.key == self.authority_key());
        Ok(place.expect("the authority is a validator") as u32)
    }

    fn authority_key(&self) -> Digest32 {
        Digest32::from_bytes(self.authority.verifying_key().to_bytes())
    }

    /// The validators of the next height.
    pub fn sitting(&self) -> Vec<u8> {
        let set: ValidatorSet = self.call("LedgerApi_validators", ());
        (0..VALIDATORS).filter(|n| set.has(&validator_key(*n))).collect()
    }

    pub fn certify(&self, block: &Block) -> CommitCertificate {
        let height = Height::new(block.header.number);
        let value = Digest32::from_bytes(block.header.hash().0);
        let message = CommitCertificate::sign_bytes(&self.genesis_digest(), height, 0, &value);
        let set: ValidatorSet = self.call("LedgerApi_validators", ());
        let keys = set.validators().iter().map(|validator| validator.key);
        let sign = |validator| {
            let key = known_keys().get(&validator)?;
            let signature = Signature(key.sign(message.as_bytes()).to_bytes());
            Some(ValidatorSignature { validator, signature })
        };
        let signatures = keys.filter(|key| !self.absent.contains(key)).filter_map(sign).collect();
        CommitCertificate { height, round: 0, value, signatures }
    }

    pub fn commit(&mut self, block: &Block, executed: Executed) -> Result<(), ChainError> {
        let certificate = self.certify(block);
        self.chain.commit(block, executed, &certificate)
    }

    /// Builds, verifies and commits a block; every transaction must be taken. Checks all invariants.
    pub fn block(&mut self, extrinsics: Vec<UncheckedExtrinsic>) -> Vec<RuntimeEvent> {
        let count = extrinsics.len();
        let proposal = self.propose(extrinsics).unwrap();
        assert_eq!(transactions(&proposal.block).len(), count, "every transaction is taken");
        let executed = self.chain.verify(&proposal.block).unwrap();
        self.commit(&proposal.block, executed).unwrap();
        let holds: Result<(), Vec<u8>> = self.call("LedgerApi_check_invariants", ());
        assert_eq!(holds.map_err(|broken| String::from_utf8(broken).unwrap()), Ok(()));
        self.events()
    }

    pub fn blocks(&mut self, count: u32) {
        for _ in 0..count {
            self.block(vec![]);
        }
    }

    pub fn events(&self) -> Vec<RuntimeEvent> {
        let bytes = self.chain.reader().events(self.chain.head().hash()).unwrap().unwrap();
        let records = Vec::<EventRecord<RuntimeEvent, Hash>>::decode_all(&mut bytes.as_slice()).unwrap();
        records.into_iter().map(|record| record.event).collect()
    }

    pub fn sign(&self, who: &sr25519::Pair, call: RuntimeCall) -> UncheckedExtrinsic {
        let nonce: u32 = self.call("AccountNonceApi_account_nonce", AccountId::from(who.public()));
        self.sign_at(who, nonce, call)
    }

    pub fn sign_at(&self, who: &sr25519::Pair, nonce: u32, call: RuntimeCall) -> UncheckedExtrinsic {
        let payload =
            SignedPayload::from_raw(call, signed_extension(nonce, 0), signed_implicit(self.chain.genesis()));
        let signature = payload.using_encoded(|bytes| who.sign(bytes));
        let (call, extension, _) = payload.deconstruct();
        UncheckedExtrinsic::new_signed(call, Address::Id(who.public().into()), signature.into(), extension)
    }

    pub fn account(&self, who: &AccountId) -> (Balance, Balance) {
        let key = frame_system::Account::<assay_runtime::Runtime>::hashed_key_for(who);
        let lease = self.chain.reader().at(None).unwrap();
        let Some(bytes) = lease.storage(&key).unwrap() else { return (0, 0) };
        let info = frame_system::AccountInfo::<u32, pallet_balances::AccountData<Balance>>::decode(
            &mut bytes.as_slice(),
        )
        .unwrap();
        (info.data.free, info.data.reserved)
    }

    pub fn issuance(&self) -> Balance {
        let key = pallet_balances::TotalIssuance::<assay_runtime::Runtime>::hashed_key();
        let lease = self.chain.reader().at(None).unwrap();
        Decode::decode(&mut lease.storage(&key).unwrap().unwrap().as_slice()).unwrap()
    }
}

/// The transactions of a block, behind what its proposer puts into it itself.
pub fn transactions(block: &Block) -> &[UncheckedExtrinsic] {
    &block.extrinsics[own_extrinsics(block.header.number)..]
}

/// Seed of the keys of whoever becomes a validator of some test; none of them is the authority's.
pub fn newcomer_seed(n: u8) -> [u8; 32] {
    let mut seed = [n; 32];
    seed[0] = 1;
    seed
}

/// The consensus keys of all validators of the tests.
fn known_keys() -> &'static BTreeMap<Digest32, SigningKey> {
    static KEYS: OnceLock<BTreeMap<Digest32, SigningKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let newcomers = (0..=u8::MAX).map(|n| SigningKey::from_bytes(&newcomer_seed(n)));
        let keys = (0..VALIDATORS).map(validator).chain(newcomers);
        keys.map(|key| (Digest32::from_bytes(key.verifying_key().to_bytes()), key)).collect()
    })
}

/// A validator's signature.
pub fn signed_by(n: u8, message: &Digest32) -> ValidatorSignature {
    let signature = Signature(validator(n).sign(message.as_bytes()).to_bytes());
    ValidatorSignature { validator: validator_key(n), signature }
}

/// Registers a dataset of five bytes.
pub fn register(n: u8) -> RuntimeCall {
    RuntimeCall::Artifacts(pallet_assay_artifacts::Call::register {
        subject: pallet_assay_artifacts::Subject::Dataset(ArtifactId::from_bytes([n; 32])),
        size_bytes: 5,
        name: format!("set-{n}").into_bytes().try_into().unwrap(),
        license: Default::default(),
    })
}

pub fn transfer(to: &AccountId, amount: Balance) -> RuntimeCall {
    let dest = Address::Id(to.clone());
    RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive { dest, value: amount })
}
