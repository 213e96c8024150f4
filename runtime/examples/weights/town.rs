//! A chain as large as a test machine can hold, and the clock.

use std::path::Path;

use assay_manifest::{ModelId, SpecId};
use assay_protocol::params::Params;
use assay_runtime::executor::{Retention, on_big_stack};
use assay_runtime::{AccountId, Endowment, GenesisSpec, RuntimeCall, UNIT, UncheckedExtrinsic};
use pallet_assay_providers::{Call as ProvidersCall, Offer};
use rustix::time::{ClockId, clock_gettime};
use sp_core::Pair;

use crate::market::{Market, STAKE, offer, sealing_secret, work_public};
use crate::samples::Samples;
use crate::store::RedbKv;
use crate::support::{Network, genesis, provider};

/// Accounts with a balance.
pub const ACCOUNTS: u32 = 50_000;
/// Providers that serve every model: as many as a draw may have, but for one who joins and leaves.
pub const PROVIDERS: u8 = 255;
/// Models of every offer: as many as there may be, each by definitions of its own.
pub const MODELS: u8 = 16;
/// Blocks for which wrong values under one definition count together: fewer than between two lots of jobs.
const PAUSE: u32 = 10;
/// Blocks until unstaked tokens can be taken.
pub const UNBONDING: u32 = 100;
/// Blocks of a session.
pub const SESSION: u32 = 10;
/// Blocks until unbonded tokens of validators can be taken.
pub const VALIDATOR_UNBONDING: u32 = 30;
/// Executions of one block, of which the one that took the least processor time counts.
const REPEATS: u32 = 3;

pub struct Town {
    pub market: Market<RedbKv>,
}

/// Accounts that only have a balance.
pub fn crowd() -> impl Iterator<Item = AccountId> {
    (0..ACCOUNTS).map(|n| AccountId::new(*assay_manifest::sha256(&n.to_le_bytes()).as_bytes()))
}

fn spec() -> GenesisSpec {
    let providers = (0..=PROVIDERS).map(|n| provider(n).public().into());
    let base = genesis();
    let mut endowments = base.endowments.clone();
    let known: Vec<AccountId> = endowments.iter().map(|entry| entry.account.clone()).collect();
    endowments.extend(
        crowd()
            .chain(providers)
            .filter(|account| !known.contains(account))
            .map(|account| Endowment { account, amount: 1_000_000 * UNIT }),
    );
    let params = Params {
        offer_delay: 2,
        unbonding_window: UNBONDING,
        session_length: SESSION,
        validator_unbonding_window: VALIDATOR_UNBONDING,
        rotation_window: 1,
        pause_window: PAUSE,
        challenge_window: 60,
        concede_window: 20,
        ..Params::DEVELOPMENT
    };
    GenesisSpec { endowments, params, ..base }
}

/// An offer of as many models as there may be, the market's own among them.
pub fn full_offer() -> Offer {
    let mut whole = offer(crate::market::P_VERIFY);
    for n in 0..MODELS - 1 {
        let mut terms = whole.models[0].clone();
        terms.model_id = ModelId::from_bytes([100 + n; 32]);
        terms.spec_id = SpecId::from_bytes([100 + n; 32]);
        whole.models.try_push(terms).expect("sixteen models fit");
    }
    whole
}

/// An offer of as many models as there may be, none of which anybody else has; another one each time.
pub fn lonely_offer(n: u8, time: u8) -> Offer {
    let mut whole = full_offer();
    for (index, terms) in (0u8..).zip(&mut whole.models) {
        let mut id = [200; 32];
        id[..3].copy_from_slice(&[n, time, index]);
        // Spread over the state as real ids are.
        terms.model_id = ModelId::from_bytes(*assay_manifest::sha256(&id).as_bytes());
    }
    whole
}

pub fn stake_call(n: u8) -> RuntimeCall {
    RuntimeCall::Providers(ProvidersCall::stake {
        amount: STAKE,
        work_key: work_public(n),
        encryption_key: sealing_secret(n).public(),
    })
}

impl Town {
    pub fn build(dir: &Path, samples: &mut Samples) -> Self {
        let kv = RedbKv::create(&dir.join("ledger.redb")).expect("a fresh file");
        let net = Network::with(kv, &spec(), Retention::Window(64)).expect("a fresh chain");
        let mut town = Self { market: Market { net } };
        let all: Vec<u8> = (0..PROVIDERS).collect();
        for some in all.chunks(32) {
            let stake = some.iter().map(|n| town.market.net.sign_at(&provider(*n), 0, stake_call(*n)));
            town.block(stake.collect());
            let set = some.iter().map(|n| {
                let call = RuntimeCall::Providers(ProvidersCall::set_offer { offer: full_offer() });
                town.market.net.sign_at(&provider(*n), 1, call)
            });
            town.block(set.collect());
            town.pass("building", 0, samples);
            town.pass("building", 0, samples);
        }
        town
    }

    /// Imports a block of exactly these; microseconds of processor time for execution and write.
    pub fn block(&mut self, extrinsics: Vec<UncheckedExtrinsic>) -> f64 {
        let count = extrinsics.len();
        let proposal = self.market.net.propose(extrinsics).expect("a proposal");
        let taken = crate::support::transactions(&proposal.block).len();
        assert_eq!(taken, count, "every transaction is taken");
        let chain = &self.market.net.chain;
        let (executed, us) = on_big_stack(|| {
            let runs = (0..REPEATS).map(|_| timed(|| chain.verify(&proposal.block).expect("a valid block")));
            runs.min_by(|one, other| one.1.total_cmp(&other.1)).expect("it ran")
        })
        .expect("a thread");
        let ((), wrote) = timed(|| {
            self.market.net.commit(&proposal.block, executed).expect("it is written");
        });
        us + wrote
    }

    /// A block of one kind of call.
    pub fn take(&mut self, name: &'static str, extrinsics: Vec<UncheckedExtrinsic>, samples: &mut Samples) {
        let count = extrinsics.len();
        let us = self.block(extrinsics);
        assert_eq!(crate::market::error(&self.market.net.events()), None, "{name}: every call succeeds");
        samples.add(name, count, us);
    }

    /// An empty block in which the ledger does `items` by itself.
    pub fn pass(&mut self, name: &'static str, items: usize, samples: &mut Samples) {
        let us = self.block(vec![]);
        samples.add(name, items, us);
    }

    /// Calls of one account, one after the other.
    pub fn signed(&self, who: &sp_core::sr25519::Pair, calls: Vec<RuntimeCall>) -> Vec<UncheckedExtrinsic> {
        let account = AccountId::from(who.public());
        let first: u32 = self.market.net.call("AccountNonceApi_account_nonce", account);
        (first..).zip(calls).map(|(nonce, call)| self.market.net.sign_at(who, nonce, call)).collect()
    }
}

/// The result, and the microseconds for which this thread had a processor.
pub fn timed<R>(act: impl FnOnce() -> R) -> (R, f64) {
    let start = processor_us();
    let result = act();
    (result, processor_us() - start)
}

fn processor_us() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}
