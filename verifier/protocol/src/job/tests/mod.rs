//! The state machine by itself: every path to its end, and no unit lost on any of them.

use std::collections::BTreeMap;

use super::*;
use crate::commitment::{Claim, FailCode, Finish, Opening, Salt, SeatId, ValueKind, trace_blind};
use crate::draw::Candidate;
use crate::fees;
use crate::params::{FETCHED_BYTES_PER_BLOCK, Params};
use crate::party::{AccountBytes, Role};
use crate::record::{Class, PROTOCOL_VERSION, Policy, Prices, PublicRecord};
use crate::signature::{SeatStep, Signature};
use crate::units::{Amount, Height, Price, Tokens};
use assay_manifest::{Digest32, ModelId, SpecId};

mod at_large;
mod delivery;
mod random;
mod recheck;
mod rules;

const REQUESTER: AccountBytes = [0xaa; 32];
const STAKE: u128 = 1_000_000_000_000_000;
const VALIDATORS: u32 = 1;
/// Accounts from this one on do not serve the model.
const STRANGER: u8 = 100;
/// What one of them fetches, in more than the time of one block.
const WEIGHTS_BYTES: u64 = FETCHED_BYTES_PER_BLOCK * 5 - 1;

/// A job with books beside it: what is locked, held and burned must always add up.
pub(crate) struct World {
    pub(crate) params: Params,
    pub(crate) now: Height,
    pub(crate) job: Job,
    locked: BTreeMap<AccountBytes, u128>,
    elsewhere: BTreeMap<AccountBytes, u128>,
    working: BTreeMap<AccountBytes, i32>,
    escrow: u128,
    deposits: BTreeMap<AccountBytes, u128>,
    reserved: u128,
    scores: BTreeMap<AccountBytes, u128>,
    gained: BTreeMap<AccountBytes, u128>,
    lost: BTreeMap<AccountBytes, u128>,
    burned: u128,
    pot: u128,
    misses: Vec<AccountBytes>,
    faults: Vec<AccountBytes>,
    pub(crate) record: Option<SettlementRecord>,
    later: Vec<SettlementRecord>,
    dropped: Vec<Party>,
    closed: bool,
    providers: u8,
    /// Providers that do not serve the model.
    strangers: u8,
    pub(crate) drawn: Vec<(Role, Height, Vec<Candidate>)>,
}

fn key(provider: u8) -> schnorrkel::Keypair {
    schnorrkel::MiniSecretKey::from_bytes(&[provider; 32])
        .unwrap()
        .expand_to_keypair(schnorrkel::ExpansionMode::Ed25519)
}

fn account(provider: u8) -> AccountBytes {
    [provider; 32]
}

pub(crate) fn record(policy: Policy) -> PublicRecord {
    PublicRecord {
        version: PROTOCOL_VERSION,
        class: Class::Exact,
        model_id: ModelId::from_bytes([1; 32]),
        spec_id: SpecId::from_bytes([2; 32]),
        input_commit: Digest32::from_bytes([3; 32]),
        n_in: Tokens::new(100),
        n_max: Tokens::new(50),
        policy,
        prices: Prices {
            input: Price::new(1_000_000_000_000_000),
            output: Price::new(2_000_000_000_000_000),
            verify_max: Price::new(1_000_000_000_000_000),
        },
        valid_until: Height::new(100),
        max_eyes: 0,
        direct_executor: None,
        parent: None,
        verified_range: None,
    }
}

impl Books for World {
    fn bondable(&self, account: &AccountBytes) -> Amount {
        Amount::new(self.free_stake(account))
    }

    fn score(&self, account: &AccountBytes) -> Amount {
        self.scores.get(account).map_or(Params::MAIN.newcomer_score, |score| Amount::new(*score))
    }
}

impl World {
    pub(crate) fn new(providers: u8) -> Self {
        Self::with(providers, record(Policy::Verified { verifiers: 2 }))
    }

    pub(crate) fn with(providers: u8, record: PublicRecord) -> Self {
        let params = Params::MAIN;
        let quote = fees::quote(&record, &params, 1).unwrap();
        let now = Height::new(10);
        let genesis = Digest32::from_bytes([9; 32]);
        let job = Job::new(genesis, REQUESTER, 0, record, quote, (now, &params)).unwrap();
        Self {
            params,
            now,
            job,
            locked: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            working: BTreeMap::new(),
            escrow: quote.escrow.get(),
            deposits: BTreeMap::new(),
            reserved: 0,
            scores: BTreeMap::new(),
            gained: BTreeMap::new(),
            lost: BTreeMap::new(),
            burned: 0,
            pot: 0,
            misses: vec![],
            faults: vec![],
            record: None,
            later: vec![],
            dropped: vec![],
            closed: false,
            providers,
            strangers: 0,
            drawn: vec![],
        }
    }

    /// A job with a verifier at large, of whom there are as many.
    pub(crate) fn at_large(providers: u8, strangers: u8, record: PublicRecord) -> Self {
        let policy = Policy::VerifiedAtLarge { verifiers: 2, weights_bytes: WEIGHTS_BYTES };
        Self { strangers, ..Self::with(providers, PublicRecord { policy, ..record }) }
    }

    fn free_stake(&self, account: &AccountBytes) -> u128 {
        let of = |book: &BTreeMap<AccountBytes, u128>| book.get(account).copied().unwrap_or(0);
        STAKE - of(&self.locked) - of(&self.lost) - of(&self.elsewhere)
    }

    fn contenders(&self) -> Vec<Contender> {
        let served = (1..=self.providers).map(|n| (n, true));
        let at_large = (1..=self.strangers).map(|n| (STRANGER + n, false));
        served
            .chain(at_large)
            .map(|(n, serves)| {
                let free_stake = Amount::new(self.free_stake(&account(n)));
                Contender {
                    candidate: Candidate { provider: account(n), free_stake },
                    work_key: key(n).public.to_bytes(),
                    encryption_key: Digest32::from_bytes([n; 32]),
                    input: Price::new(1_000_000_000_000_000),
                    output: Price::new(2_000_000_000_000_000),
                    verify: Price::new(500_000_000_000_000),
                    has_capacity: true,
                    serves,
                }
            })
            .collect()
    }

    fn try_step(&mut self, input: Input) -> Result<(), Refusal> {
        let context = Context {
            params: &self.params,
            now: self.now,
            validators: VALIDATORS,
            pot: Amount::new(self.pot - self.reserved),
            books: self,
        };
        let transition = self.job.apply(&context, input)?;
        self.job = transition.job;
        for effect in transition.effects {
            self.carry_out(effect);
        }
        Ok(())
    }

    fn step(&mut self, input: Input) {
        self.try_step(input).unwrap();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Drawn { role, candidates } => self.drawn.push((role, self.now, candidates)),
            Effect::LockBond { provider, amount } => {
                *self.locked.entry(provider).or_default() += amount.get()
            }
            Effect::ReleaseBond { provider, amount } => {
                *self.locked.get_mut(&provider).unwrap() -= amount.get();
            }
            Effect::ForfeitBond { provider, payments, burned } => {
                let paid: u128 = payments.iter().map(|p| p.amount.get()).sum();
                *self.locked.get_mut(&provider).unwrap() -= paid + burned.get();
                *self.lost.entry(provider).or_default() += paid + burned.get();
                assert!(burned.get() * 2 >= paid + burned.get(), "at least half is burned");
                assert!(paid + burned.get() > 0, "a forfeit takes something");
                self.burned += burned.get();
                payments.into_iter().for_each(|payment| self.pay(payment));
            }
            Effect::BeginWork { provider } => *self.working.entry(provider).or_default() += 1,
            Effect::EndWork { provider } => *self.working.get_mut(&provider).unwrap() -= 1,
            Effect::PayEscrow(payment) => {
                self.escrow -= payment.amount.get();
                self.pay(payment);
            }
            Effect::BurnEscrow { amount } => {
                self.escrow -= amount.get();
                self.burned += amount.get();
            }
            Effect::RefundEscrow { amount } => {
                self.escrow -= amount.get();
                *self.gained.entry(REQUESTER).or_default() += amount.get();
            }
            Effect::Miss { provider } => self.misses.push(provider),
            Effect::Fault { provider } => self.faults.push(provider),
            Effect::Credit { .. } => {}
            Effect::TakeDeposit { from, amount } => {
                *self.deposits.entry(from).or_default() += amount.get();
                *self.lost.entry(from).or_default() += amount.get();
            }
            Effect::EndDeposit { from, amount, burned, to_pot } => {
                *self.deposits.get_mut(&from).unwrap() -= amount.get();
                *self.gained.entry(from).or_default() += amount.get() - burned.get() - to_pot.get();
                self.burned += burned.get();
                self.pot += to_pot.get();
            }
            Effect::ReservePot { amount } => self.reserved += amount.get(),
            Effect::SpendPot { reserved, payments, burned } => {
                self.reserved -= reserved.get();
                let paid: u128 = payments.iter().map(|payment| payment.amount.get()).sum();
                assert!(paid + burned.get() <= reserved.get(), "no more than what was set aside");
                self.pot -= paid + burned.get();
                self.burned += burned.get();
                payments.into_iter().for_each(|payment| self.pay(payment));
            }
            Effect::DropPackage { party } => self.dropped.push(party),
            Effect::Record(record) if self.record.is_none() => self.record = Some(*record),
            Effect::Record(record) => {
                let first = self.record.as_ref().unwrap();
                assert_eq!(record.payments, first.payments, "the escrow is divided once");
                self.later.push(*record);
            }
            Effect::Close => self.closed = true,
        }
    }

    fn pay(&mut self, payment: Payment) {
        match payment.to {
            Payee::Account(to) => *self.gained.entry(to).or_default() += payment.amount.get(),
            Payee::Pot => self.pot += payment.amount.get(),
        }
    }

    fn draw(&mut self) {
        self.now = self.now.max(self.job.due().unwrap());
        let randomness = Digest32::from_bytes([self.now.get() as u8; 32]);
        let contenders = self.contenders();
        self.step(Input::Draw { randomness, contenders, total_stake: Amount::new(STAKE * 6) });
    }

    fn timeout(&mut self) {
        self.now = self.job.due().unwrap();
        self.step(Input::Deadline);
    }

    fn reach_accepted(&mut self) {
        self.draw();
        let seat = self.job.executor().unwrap().index;
        self.step(Input::Accept { seat });
    }

    fn claim() -> Claim {
        Claim::of(&Salt::from_bytes([4; 32]), &[1, 2, 3], Finish::Eos)
    }

    fn commit(&mut self, seat: u8, opening: &Opening) {
        let input = self.commit_input(seat, opening);
        self.step(input);
    }

    fn commit_input(&self, index: u8, opening: &Opening) -> Input {
        let seat = self.job.seats.iter().find(|s| s.index == index).unwrap();
        let claim = Self::claim();
        let value = opening.value(&self.job.id, self.job.round, &claim);
        let commitment = self.job.seat_id(seat).commit(&value);
        let next = SeatId { round: seat.round + 1, ..self.job.seat_id(seat) };
        let recheck = next.commit(&at_round(opening, next.round).value(&self.job.id, next.round, &claim));
        let claim = (seat.role == Role::Executor).then_some(claim);
        Input::Commit { seat: index, commitment: self.sign(seat, (commitment, recheck), claim), claim }
    }

    fn sign(
        &self,
        seat: &Seat,
        (commitment, recheck): (Digest32, Digest32),
        claim: Option<Claim>,
    ) -> SignedCommitment {
        let step = SeatStep::Commit { commitment, recheck, claim };
        let digest = step.digest(&self.job.genesis, &self.job.id, seat.round, seat.index);
        let signature = key(seat.provider[0]).sign_simple(b"substrate", digest.as_bytes());
        SignedCommitment { commitment, recheck, signature: Signature(signature.to_bytes()) }
    }

    fn reach_verifying(&mut self) {
        self.reach_accepted();
        let seat = self.job.executor().unwrap().index;
        self.commit(seat, &right());
        self.draw();
    }

    fn verifiers(&self) -> Vec<u8> {
        self.job.pending_verifiers().map(|seat| seat.index).collect()
    }

    /// Executor commits to `values[0]`, verifiers to the others.
    pub(crate) fn reach_revealing(&mut self, values: &[Opening]) {
        self.reach_accepted();
        let seat = self.job.executor().unwrap().index;
        self.commit(seat, &values[0]);
        self.draw();
        for (seat, value) in self.verifiers().into_iter().zip(&values[1..]) {
            self.commit(seat, value);
        }
    }

    pub(crate) fn reveal(&mut self, opening: Opening) {
        self.step(Input::Reveal { opening });
    }

    /// Runs out the challenge window and checks that nothing is left anywhere.
    fn close(&mut self) {
        self.run_out();
        assert!(self.closed);
        assert_eq!(self.reserved, 0, "nothing stays set aside");
        assert!(self.deposits.values().all(|left| *left == 0), "no deposit stays held");
        assert_eq!(self.escrow, 0, "the escrow is divided to the unit");
        assert!(self.locked.values().all(|left| *left == 0), "no bond stays locked");
        assert!(self.working.values().all(|left| *left == 0), "no work stays counted");
        let inflow = self.job.quote.escrow.get() + self.lost.values().sum::<u128>();
        let outflow = self.gained.values().sum::<u128>() + self.burned + self.pot;
        assert_eq!(inflow, outflow, "what goes in comes out");
    }

    /// Lets every deadline pass, and every draw happen, until the job leaves the state.
    fn run_out(&mut self) {
        for _ in 0..64 {
            if self.closed {
                return;
            }
            self.now = self.now.max(self.job.due().unwrap());
            match self.job.draws_at(self.now) {
                Some(_) => self.draw(),
                None => self.step(Input::Deadline),
            }
        }
        panic!("the job does not end: {:?}", self.job.phase);
    }

    fn provider_of(&self, seat: u8) -> AccountBytes {
        self.job.seats.iter().find(|s| s.index == seat).unwrap().provider
    }

    fn gain(&self, who: AccountBytes) -> u128 {
        self.gained.get(&who).copied().unwrap_or(0)
    }

    fn loss(&self, who: AccountBytes) -> u128 {
        self.lost.get(&who).copied().unwrap_or(0)
    }
}

fn blind(round: u8, mark: u8) -> Digest32 {
    trace_blind(&Salt::from_bytes([4; 32]), round, &Digest32::from_bytes([mark; 32]), 0)
}

/// The same value as it is opened in another round.
fn at_round(opening: &Opening, round: u8) -> Opening {
    let mark = (0..=u8::MAX).find(|mark| blind(1, *mark) == opening.blind).unwrap();
    Opening { blind: blind(round, mark), ..*opening }
}

fn opening(kind: ValueKind, mark: u8) -> Opening {
    let blind = blind(1, mark);
    let code = if kind == ValueKind::Fail { FailCode::ContextOverflow } else { FailCode::None };
    Opening { kind, position: 0, code, blind }
}

pub(crate) fn right() -> Opening {
    opening(ValueKind::Ok, 1)
}

fn reject() -> Opening {
    opening(ValueKind::Reject, 2)
}

/// F = 100 + 3·2 units for 3 tokens, A = ½·(100 + 3.75) units.
const UNIT: u128 = 1_000_000_000;
const F: u128 = 106 * UNIT;
const A: u128 = 103_750_000_000 / 2;
const F_MAX: u128 = 200 * UNIT;
const BOND: u128 = 10 * F_MAX;
