//! A market on a chain: providers with stake and offers, one requester, and the steps of its jobs.

use assay_manifest::{Digest32, JobId, ModelId, SpecId};
use assay_protocol::commitment::{Claim, Opening, SeatId, input_commit};
use assay_protocol::job::{Job, Phase, Seat, SeatOutcome, SettlementRecord, verdict_digest};
use assay_protocol::params::Params;
use assay_protocol::party::{AccountBytes, Role};
use assay_protocol::record::{Class, PROTOCOL_VERSION, Policy, Prices, PublicRecord};
use assay_protocol::request::{Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};
use assay_protocol::seal::SealingSecret;
use assay_protocol::signature::{SeatStep, Signature};
use assay_protocol::units::{Amount, Height, Price, Tokens};
use assay_runtime::executor::{Kv, MemoryKv, Retention};
use assay_runtime::queries::ProviderEntry;
use assay_runtime::{
    AccountId, Balance, GenesisSpec, Runtime, RuntimeCall, RuntimeEvent, UNIT, UncheckedExtrinsic, general,
};
use codec::Encode;
use frame_support::PalletId;
use pallet_assay_jobs::{Call as JobsCall, Ruling, Signatures, ruling_digest};
use pallet_assay_providers::{Call as ProvidersCall, HardwareClass, ModelOffer, Offer, Provider};
use sp_core::{Pair, sr25519};
use sp_runtime::traits::AccountIdConversion;
use sp_runtime::transaction_validity::InvalidTransaction;

use crate::answers::{a_round_later, claim, salt};
use crate::books::{Books, Purse};
use crate::support::{Network, accounts, alice, genesis, provider, signed_by};

/// Providers of a market: one more than the seats of a job with two verifiers.
pub const PROVIDERS: u8 = 6;
/// Stake of each.
pub const STAKE: Balance = 1_000 * UNIT;
/// Tokens of every prompt.
pub const N_IN: u128 = 100;
/// The most tokens of every answer.
pub const N_MAX: u128 = 50;
/// Tokens of the right answer.
pub const N_OUT: u128 = 3;
/// Base units of a prompt token.
pub const P_IN: Balance = 150_000_000;
/// Base units of a generated token.
pub const P_OUT: Balance = 300_000_000;
/// Base units of a verified token, as offered.
pub const P_VERIFY: Balance = 75_000_000;
/// The same, as capped by the request.
pub const P_VERIFY_MAX: Balance = P_IN;

/// F_max = p_in·n_in + p_out·n_max.
pub const F_MAX: Balance = P_IN * N_IN + P_OUT * N_MAX;
/// F of the right answer.
pub const F: Balance = P_IN * N_IN + P_OUT * N_OUT;
/// A = p_verify·(n_in + 1.25·n_out) of the right answer.
pub const A: Balance = P_VERIFY * (4 * N_IN + 5 * N_OUT) / 4;
/// A_max = p_verify_max·(n_in + 1.25·n_max).
pub const A_MAX: Balance = P_VERIFY_MAX * (4 * N_IN + 5 * N_MAX) / 4;
/// B = max(10·F_max, 1.5·validators·A_max), with one validator.
pub const B: Balance = {
    let referee = A_MAX * 3 / 2;
    if 10 * F_MAX > referee { 10 * F_MAX } else { referee }
};
/// Prepaid steps of a request.
pub const STEPS_PREPAID: Balance = 48;

pub fn step_fee() -> Balance {
    params().step_fee.get()
}

/// F_max + k·A_max + 5 % + prepaid steps.
pub fn escrow(verifiers: u128) -> Balance {
    F_MAX + verifiers * A_MAX + F_MAX * 5 / 100 + STEPS_PREPAID * step_fee()
}

pub fn params() -> Params {
    // Nobody is a newcomer, from whose fee something is kept; those have tests of their own.
    Params { offer_delay: 4, newcomer_score: Amount::ZERO, ..Params::DEVELOPMENT }
}

pub fn model() -> ModelId {
    ModelId::from_bytes([1; 32])
}

/// The definitions by which every offer and every request here has the model executed.
pub fn spec() -> SpecId {
    SpecId::from_bytes([2; 32])
}

pub fn pot() -> AccountBytes {
    let pot: AccountId = PalletId(*b"asy/vpot").into_account_truncating();
    pot.into()
}

pub fn requester() -> AccountBytes {
    alice().public().0
}

pub fn account(n: u8) -> AccountBytes {
    provider(n).public().0
}

/// The key that signs the job steps of a provider; its account stays cold.
pub fn work_key(n: u8) -> sr25519::Pair {
    sr25519::Pair::from_string(&format!("//Provider//{n}//work"), None).unwrap()
}

pub fn work_public(n: u8) -> [u8; 32] {
    work_key(n).public().0
}

/// The secret to which a provider's data is sealed.
pub fn sealing_secret(n: u8) -> SealingSecret {
    SealingSecret::from_bytes([n.wrapping_add(1); 32])
}

pub fn work_key_of(seat: &Seat) -> sr25519::Pair {
    (0..=u8::MAX).map(work_key).find(|key| key.public().0 == seat.work_key).expect("a provider of the market")
}

pub fn offer(verify: Balance) -> Offer {
    let price = |per_token: Balance| Price::new(per_token * 1_000_000);
    let (input, output, verify) = (price(P_IN), price(P_OUT), price(verify));
    let terms = ModelOffer { model_id: model(), spec_id: spec(), input, output, verify };
    Offer {
        models: vec![terms].try_into().unwrap(),
        hardware: HardwareClass::CpuSmall,
        capacity: 10_000,
        at_large: None,
    }
}

pub fn record(policy: Policy) -> PublicRecord {
    let price = |per_token: Balance| Price::new(per_token * 1_000_000);
    PublicRecord {
        version: PROTOCOL_VERSION,
        class: Class::Exact,
        model_id: model(),
        spec_id: spec(),
        input_commit: input_commit(&salt(), b"request"),
        n_in: Tokens::new(N_IN as u32),
        n_max: Tokens::new(N_MAX as u32),
        policy,
        prices: Prices { input: price(P_IN), output: price(P_OUT), verify_max: price(P_VERIFY_MAX) },
        valid_until: Height::new(1_000_000),
        max_eyes: 0,
        direct_executor: None,
        parent: None,
        verified_range: None,
    }
}

/// A request that opens to its commitment, unlike the plain bytes of the other records.
pub fn question(n_max: u32) -> Request {
    Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Text("one and one?".into()),
        now_s: 1,
        n_in: N_IN as u32,
        prompt_hash: prompt_hash(&[1]),
        max_tokens: n_max,
        stop: vec![],
        sampler: Sampler::greedy(),
        seed: None,
        salt_hash: salt().hash(),
    }
}

pub fn two() -> PublicRecord {
    record(Policy::Verified { verifiers: 2 })
}

pub struct Market<K: Kv = MemoryKv> {
    pub net: Network<K>,
}

impl Market {
    pub fn new() -> Self {
        Self::of(PROVIDERS)
    }

    pub fn of(providers: u8) -> Self {
        Self::with(providers, params())
    }

    pub fn with(providers: u8, params: Params) -> Self {
        Self::kept_in(MemoryKv::default(), providers, &GenesisSpec { params, ..genesis() })
    }
}

impl<K: Kv> Market<K> {
    /// A new market in a store.
    pub fn kept_in(kv: K, providers: u8, spec: &GenesisSpec) -> Self {
        let mut market = Self { net: Network::with(kv, spec, Retention::Archive).unwrap() };
        let opening = (0..providers).flat_map(|n| market.enter(n)).collect();
        market.net.block(opening);
        market.net.blocks(spec.params.offer_delay);
        market
    }

    /// The two transactions with which a provider enters the market.
    pub fn enter(&self, n: u8) -> Vec<UncheckedExtrinsic> {
        let stake = ProvidersCall::stake {
            amount: STAKE,
            work_key: work_public(n),
            encryption_key: sealing_secret(n).public(),
        };
        let offer = ProvidersCall::set_offer { offer: offer(P_VERIFY) };
        let calls = [stake, offer].map(RuntimeCall::Providers);
        (0u32..).zip(calls).map(|(nonce, call)| self.net.sign_at(&provider(n), nonce, call)).collect()
    }

    pub fn height(&self) -> u32 {
        self.net.chain.head().number
    }

    /// Everything that everybody has.
    pub fn books(&self) -> Books {
        let everybody = accounts().into_iter().map(AccountBytes::from).chain([pot()]);
        let purse = |who: AccountBytes| {
            let (free, held) = self.net.account(&who.into());
            let entry: Option<ProviderEntry> = self.net.call("ProvidersApi_provider", who);
            let (stake, locked) = entry.map_or((0, 0), |(_, book, ..)| (book.stake, book.locked));
            (who, Purse { free, held, stake, locked })
        };
        Books { purses: everybody.map(purse).collect(), issuance: self.net.issuance() }
    }

    pub fn provider(&self, who: AccountBytes) -> Provider<u32> {
        self.net.call::<Option<ProviderEntry>>("ProvidersApi_provider", who).expect("a provider").1
    }

    pub fn find(&self, id: JobId) -> Option<Job> {
        self.net.call("JobsApi_job", id)
    }

    pub fn job(&self, id: JobId) -> Job {
        self.find(id).expect("an open job")
    }

    /// The transaction with which Alice asks for a job.
    pub fn asking(&self, record: PublicRecord) -> UncheckedExtrinsic {
        let nonce: u64 = self.net.call("JobsApi_next_nonce", requester());
        self.net.sign(&alice(), RuntimeCall::Jobs(JobsCall::request { nonce, record }))
    }

    pub fn request(&mut self, record: PublicRecord) -> JobId {
        let events = self.net.block(vec![self.asking(record)]);
        let requested = events.iter().find_map(|event| match event {
            RuntimeEvent::Jobs(pallet_assay_jobs::Event::Requested { job, .. }) => Some(*job),
            _ => None,
        });
        requested.expect("the request is taken")
    }

    /// A seat's step, signed by its work key.
    pub fn step(&self, id: JobId, seat: u8, step: SeatStep) -> UncheckedExtrinsic {
        let job = self.job(id);
        let key = work_key_of(&job.seats[usize::from(seat)]);
        let digest = step.digest(&job.genesis, &id, job.round, seat);
        let signature = Signature(key.sign(digest.as_bytes()).0);
        general(RuntimeCall::Jobs(JobsCall::step { job: id, round: job.round, seat, step, signature }))
    }

    /// A seat's commitment to `opening` of `claim`; the executor publishes the claim with it.
    pub fn commitment(&self, id: JobId, seat: u8, opening: &Opening, claim: Claim) -> UncheckedExtrinsic {
        self.step(id, seat, self.commit_step(id, seat, opening, claim))
    }

    pub fn commit_step(&self, id: JobId, seat: u8, opening: &Opening, claim: Claim) -> SeatStep {
        let job = self.job(id);
        let seat = &job.seats[usize::from(seat)];
        let value = opening.value(&id, job.round, &claim);
        let commitment = job.seat_id(seat).commit(&value);
        let next = SeatId { round: job.round + 1, ..job.seat_id(seat) };
        let recheck = next.commit(&a_round_later(opening, job.round).value(&id, next.round, &claim));
        SeatStep::Commit { commitment, recheck, claim: (seat.role == Role::Executor).then_some(claim) }
    }

    pub fn reveal(&self, id: JobId, opening: Opening) -> UncheckedExtrinsic {
        general(RuntimeCall::Jobs(JobsCall::reveal { job: id, opening }))
    }

    /// The verdict of all validators.
    pub fn verdict(&self, id: JobId, opening: Option<Opening>) -> UncheckedExtrinsic {
        self.verdict_of(&self.net.sitting(), id, opening)
    }

    /// The verdict of some validators.
    pub fn verdict_of(&self, voters: &[u8], id: JobId, opening: Option<Opening>) -> UncheckedExtrinsic {
        let message = verdict_digest(&self.job(id), &opening);
        let signatures = signatures(voters, &message);
        general(RuntimeCall::Jobs(JobsCall::verdict { job: id, opening, signatures }))
    }

    /// The ruling of all validators on the definition of every request here, paused at `since`.
    pub fn rule(&self, ruling: Ruling, since: u32) -> UncheckedExtrinsic {
        self.rule_of(&self.net.sitting(), ruling, since)
    }

    /// The ruling of some validators.
    pub fn rule_of(&self, voters: &[u8], ruling: Ruling, since: u32) -> UncheckedExtrinsic {
        let spec = spec();
        let message = ruling_digest(&self.net.genesis_digest(), &spec, since, ruling);
        let signatures = signatures(voters, &message);
        general(RuntimeCall::Jobs(JobsCall::rule { spec, ruling, signatures }))
    }

    pub fn poke(&self, id: JobId) -> UncheckedExtrinsic {
        general(RuntimeCall::Jobs(JobsCall::poke { job: id }))
    }

    pub fn take(&mut self, extrinsic: UncheckedExtrinsic) -> Vec<RuntimeEvent> {
        self.net.block(vec![extrinsic])
    }

    /// Whether the pool and a block both refuse the transaction.
    pub fn refuses(&self, extrinsic: &UncheckedExtrinsic) -> bool {
        let lease = self.net.chain.reader().at(None).unwrap();
        let invalid = lease.validate(&extrinsic.encode()).unwrap().is_err();
        let proposal = self.net.propose(vec![extrinsic.clone()]).unwrap();
        invalid && crate::support::transactions(&proposal.block).is_empty()
    }

    /// Whether the pool refuses the transaction for now: on another state it may be right.
    pub fn is_stale(&self, extrinsic: &UncheckedExtrinsic) -> bool {
        let lease = self.net.chain.reader().at(None).unwrap();
        lease.validate(&extrinsic.encode()).unwrap() == Err(InvalidTransaction::Stale.into())
    }

    /// Empty blocks until the job's phase is one of those.
    pub fn wait(&mut self, id: JobId, there: impl Fn(&Phase) -> bool) {
        for _ in 0..400 {
            if there(&self.job(id).phase) {
                return;
            }
            self.net.blocks(1);
        }
        panic!("the job stays in {:?}", self.job(id).phase);
    }

    /// Empty blocks until the job has left the state.
    pub fn close(&mut self, id: JobId) {
        for _ in 0..400 {
            let Some(job) = self.find(id) else { return };
            assert!(job.due().is_some(), "every open phase has a deadline");
            self.net.blocks(1);
        }
        panic!("the job does not close");
    }

    /// Waits for the executor's draw; answers its seat.
    pub fn executor(&mut self, id: JobId) -> Seat {
        self.wait(id, |phase| matches!(phase, Phase::Assigned { .. }));
        self.job(id).executor().unwrap().clone()
    }

    /// Draws an executor that accepts.
    pub fn accepted(&mut self, id: JobId) -> Seat {
        let seat = self.executor(id);
        let accept = self.step(id, seat.index, SeatStep::Accept);
        self.take(accept);
        seat
    }

    /// An executor that commits to `opening` of `claim`, and the verifiers drawn after it.
    pub fn verifying(&mut self, id: JobId, opening: &Opening, claim: Claim) -> (Seat, Vec<Seat>) {
        let executor = self.accepted(id);
        let commitment = self.commitment(id, executor.index, opening, claim);
        self.take(commitment);
        self.wait(id, |phase| matches!(phase, Phase::Verifying));
        (executor, self.pending(id))
    }

    /// Verifiers that owe a commitment.
    pub fn pending(&self, id: JobId) -> Vec<Seat> {
        let job = self.job(id);
        let owes = |seat: &&Seat| seat.role.verifies() && seat.outcome == SeatOutcome::Pending;
        job.seats.iter().filter(owes).cloned().collect()
    }

    pub fn commit(&mut self, id: JobId, seat: &Seat, opening: &Opening) {
        let claim = self.job(id).claim.expect("the executor has committed");
        let commitment = self.commitment(id, seat.index, opening, claim);
        self.take(commitment);
    }

    /// A job in which everyone has committed: the executor to the first opening, the verifiers to the others.
    pub fn revealing(&mut self, openings: &[Opening], claim: Claim) -> (JobId, Seat, Vec<Seat>) {
        let id = self.request(two());
        let (executor, verifiers) = self.verifying(id, &openings[0], claim);
        for (seat, opening) in verifiers.iter().zip(&openings[1..]) {
            self.commit(id, seat, opening);
        }
        assert!(matches!(self.job(id).phase, Phase::Revealing { .. }));
        (id, executor, verifiers)
    }

    /// An honest job from request to settlement.
    pub fn honest_job(&mut self) -> (JobId, Seat, Vec<Seat>) {
        let round_one = crate::answers::right(1);
        let (id, executor, verifiers) = self.revealing(&[round_one; 3], claim());
        let reveal = self.reveal(id, round_one);
        self.take(reveal);
        (id, executor, verifiers)
    }

    /// Honest jobs, one after the other, until every provider has a score.
    pub fn until_everyone_has_a_score(&mut self) {
        for _ in 0..24 {
            if (0..PROVIDERS).all(|n| self.provider(account(n)).score > 0) {
                return;
            }
            let (id, ..) = self.honest_job();
            self.close(id);
        }
        panic!("somebody is never drawn");
    }

    /// The one record that the log holds of the job.
    pub fn settlement(&self, id: JobId) -> SettlementRecord {
        let mut records = self.records(id);
        assert_eq!(records.len(), 1, "one settlement a job");
        records.remove(0)
    }

    /// What the log holds of the job, in order.
    pub fn records(&self, id: JobId) -> Vec<SettlementRecord> {
        let (size, _): (u64, Digest32) = self.net.call("LedgerApi_log", ());
        let entries = self.net.chain.reader().log_entries(0, usize::try_from(size).unwrap()).unwrap();
        let records = entries.iter().filter_map(|leaf| SettlementRecord::from_leaf(leaf));
        records.filter(|record| record.job == id).collect()
    }
}

pub fn signatures(voters: &[u8], message: &Digest32) -> Signatures {
    voters.iter().map(|n| signed_by(*n, message)).collect::<Vec<_>>().try_into().unwrap()
}

/// What is left of a provider's score at `height`: it halves linearly within thirty days.
pub fn score_at(book: &Provider<u32>, height: u32) -> u128 {
    book.score - book.score * u128::from(height - book.score_at) / (2 * 30 * 86_400)
}

/// The fee that a transaction paid, burned as all fees are.
pub fn fee_paid(events: &[RuntimeEvent]) -> Balance {
    let paid = events.iter().filter_map(|event| match event {
        RuntimeEvent::TransactionPayment(pallet_transaction_payment::Event::TransactionFeePaid {
            actual_fee,
            ..
        }) => Some(*actual_fee),
        _ => None,
    });
    paid.sum()
}

pub fn error(events: &[RuntimeEvent]) -> Option<sp_runtime::DispatchError> {
    events.iter().find_map(|event| match event {
        RuntimeEvent::System(frame_system::Event::<Runtime>::ExtrinsicFailed { dispatch_error, .. }) => {
            Some(*dispatch_error)
        }
        _ => None,
    })
}
