//! The state machine by itself: every path to its end, and no unit lost on any of them.

use std::collections::BTreeMap;

use assay_manifest::{Digest32, ModelId, SpecId};
use proptest::prelude::*;

use super::*;
use crate::commitment::{Claim, FailCode, Finish, Opening, Salt, ValueKind, trace_blind};
use crate::draw::Candidate;
use crate::fees;
use crate::params::Params;
use crate::party::{AccountBytes, Role};
use crate::record::{Class, PROTOCOL_VERSION, Policy, Prices, PublicRecord};
use crate::signature::{SeatStep, Signature};
use crate::units::{Amount, Height, Price, Tokens};

const REQUESTER: AccountBytes = [0xaa; 32];
const STAKE: u128 = 1_000_000_000_000_000;

/// A job with books beside it: what is locked, held and burned must always add up.
pub(crate) struct World {
    params: Params,
    now: Height,
    job: Job,
    locked: BTreeMap<AccountBytes, u128>,
    elsewhere: BTreeMap<AccountBytes, u128>,
    working: BTreeMap<AccountBytes, i32>,
    escrow: u128,
    gained: BTreeMap<AccountBytes, u128>,
    lost: BTreeMap<AccountBytes, u128>,
    burned: u128,
    pot: u128,
    misses: Vec<AccountBytes>,
    faults: Vec<AccountBytes>,
    pub(crate) record: Option<SettlementRecord>,
    closed: bool,
    providers: u8,
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
            input: Price::new(1_000_000_000_000),
            output: Price::new(2_000_000_000_000),
            verify_max: Price::new(1_000_000_000_000),
        },
        valid_until: Height::new(100),
        max_eyes: 0,
        direct_executor: None,
        parent: None,
        verified_range: None,
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
            gained: BTreeMap::new(),
            lost: BTreeMap::new(),
            burned: 0,
            pot: 0,
            misses: vec![],
            faults: vec![],
            record: None,
            closed: false,
            providers,
            drawn: vec![],
        }
    }

    fn free_stake(&self, account: &AccountBytes) -> u128 {
        let of = |book: &BTreeMap<AccountBytes, u128>| book.get(account).copied().unwrap_or(0);
        STAKE - of(&self.locked) - of(&self.lost) - of(&self.elsewhere)
    }

    fn contenders(&self) -> Vec<Contender> {
        (1..=self.providers)
            .map(|n| {
                let free_stake = Amount::new(self.free_stake(&account(n)));
                Contender {
                    candidate: Candidate { provider: account(n), free_stake },
                    work_key: key(n).public.to_bytes(),
                    input: Price::new(1_000_000_000_000),
                    output: Price::new(2_000_000_000_000),
                    verify: Price::new(500_000_000_000),
                    has_capacity: true,
                }
            })
            .collect()
    }

    fn try_step(&mut self, input: Input) -> Result<(), Refusal> {
        let bondable = |account: &AccountBytes| Amount::new(self.free_stake(account));
        let context = Context { params: &self.params, now: self.now, bondable: &bondable };
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
            Effect::Record(record) => {
                assert!(self.record.is_none(), "one settlement a job");
                self.record = Some(*record);
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
        let claim = (seat.role == Role::Executor).then_some(claim);
        Input::Commit { seat: index, commitment: self.sign(seat, commitment, claim), claim }
    }

    fn sign(&self, seat: &Seat, commitment: Digest32, claim: Option<Claim>) -> SignedCommitment {
        let step = SeatStep::Commit { commitment, claim };
        let digest = step.digest(&self.job.genesis, &self.job.id, seat.round, seat.index);
        let signature = key(seat.provider[0]).sign_simple(b"substrate", digest.as_bytes());
        SignedCommitment { commitment, signature: Signature(signature.to_bytes()) }
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
        if !self.closed {
            self.timeout();
        }
        assert!(self.closed);
        assert_eq!(self.escrow, 0, "the escrow is divided to the unit");
        assert!(self.locked.values().all(|left| *left == 0), "no bond stays locked");
        assert!(self.working.values().all(|left| *left == 0), "no work stays counted");
        let inflow = self.job.quote.escrow.get() + self.lost.values().sum::<u128>();
        let outflow = self.gained.values().sum::<u128>() + self.burned + self.pot;
        assert_eq!(inflow, outflow, "what goes in comes out");
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

fn opening(kind: ValueKind, mark: u8) -> Opening {
    let blind = trace_blind(&Salt::from_bytes([4; 32]), 1, &Digest32::from_bytes([mark; 32]), 0);
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
const UNIT: u128 = 1_000_000;
const F: u128 = 106 * UNIT;
const A: u128 = 103_750_000 / 2;
const F_MAX: u128 = 200 * UNIT;
const BOND: u128 = 10 * F_MAX;

#[test]
fn an_honest_job_pays_everyone_to_the_unit() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(), right(), right()]);
    let steps = 5;
    world.reveal(right());
    let record = world.record.clone().unwrap();
    assert_eq!(record.verdict, Verdict::VerifiedThin, "six providers are a thin draw");
    let step_fee = Params::MAIN.step_fee.get();
    let burned = F * 2 / 100 + step_fee * steps;
    assert_eq!(record.payments.executor, Amount::new(F));
    assert_eq!(record.payments.verifiers, Amount::new(2 * A));
    assert_eq!(record.payments.pot, Amount::new(F * 3 / 100));
    assert_eq!(record.payments.burned, Amount::new(burned));
    assert_eq!(world.gain(world.provider_of(0)), F);
    assert_eq!(world.gain(world.provider_of(1)), A);
    assert_eq!(world.locked.values().sum::<u128>(), 3 * BOND, "bonds wait for the window");
    world.close();
    assert!(world.misses.is_empty() && world.faults.is_empty());
}

#[test]
fn a_failure_is_an_agreed_value_and_pays_for_the_tokens_before_it_whatever_its_claim_says() {
    // F = 100 + 2 units a token; the claim is of three.
    for (position, fee) in [(0, 100), (2, 104), (3, 106), (9, 106)] {
        let fail = Opening { position, ..opening(ValueKind::Fail, 3) };
        let mut world = World::new(6);
        world.reach_revealing(&[fail; 3]);
        world.reveal(fail);
        let payments = world.record.clone().unwrap().payments;
        assert_eq!(payments.executor, Amount::new(fee * UNIT), "failure at {position}");
        world.close();
    }
}

#[test]
fn an_executor_that_commits_to_its_own_claims_rejection_has_conceded() {
    let mut world = World::new(6);
    world.reach_revealing(&[reject(); 3]);
    world.reveal(reject());
    let (executor, verifier) = (world.provider_of(0), world.provider_of(1));
    let record = world.record.clone().unwrap();
    assert_eq!(record.payments.executor, Amount::ZERO);
    assert_eq!(world.loss(executor), BOND / 2);
    assert_eq!(world.misses, vec![executor]);
    assert_eq!(world.gain(verifier), A + F_MAX / 2, "its fee, and half a job fee of the bond");
    world.close();
}

#[test]
fn a_decline_after_the_seats_deadline_is_too_late() {
    let mut world = World::new(6);
    world.reach_verifying();
    let seat = world.verifiers()[0];
    let deadline = world.job.seats.iter().find(|s| s.index == seat).unwrap().deadline;
    world.now = deadline.plus(Height::new(1)).unwrap();
    assert_eq!(world.try_step(Input::Decline { seat }), Err(Refusal::TooLate(deadline)));
}

#[test]
fn an_executor_that_never_accepts_costs_the_requester_a_hundredth() {
    let mut world = World::new(6);
    for _ in 0..3 {
        world.draw();
        world.timeout();
    }
    assert_eq!(world.job.phase, Phase::Expired);
    world.close();
    assert_eq!(world.burned, F_MAX / 100);
    assert!(world.lost.is_empty(), "the input may have been withheld");
}

#[test]
fn a_decline_before_acceptance_draws_another_without_fault() {
    let mut world = World::new(6);
    world.draw();
    let first = world.provider_of(0);
    world.step(Input::Decline { seat: 0 });
    assert_eq!(world.job.round, 2);
    world.draw();
    let second = world.job.executor().unwrap().provider;
    assert_ne!(first, second, "nobody is drawn twice");
    assert!(world.lost.is_empty());
}

#[test]
fn an_executor_silent_before_its_commitment_is_fined_and_replaced() {
    let mut world = World::new(6);
    world.reach_accepted();
    let first = world.provider_of(0);
    world.timeout();
    assert_eq!(world.loss(first), F_MAX / 10);
    assert_eq!(world.misses, vec![first]);
    assert_eq!(world.job.round, 2);
    world.draw();
    let seat = world.job.executor().unwrap().index;
    world.step(Input::Accept { seat });
    world.timeout();
    world.reach_accepted();
    world.timeout();
    assert_eq!(world.job.phase, Phase::Expired);
    world.close();
    let steps = Params::MAIN.step_fee.get() * 3;
    assert_eq!(world.gain(REQUESTER), world.job.quote.escrow.get() - steps, "only steps are charged");
}

#[test]
fn a_declining_verifier_pays_half_a_fee_and_a_silent_one_a_whole() {
    let mut world = World::new(6);
    world.reach_verifying();
    let [first, second] = world.verifiers()[..] else { panic!("two seats") };
    world.step(Input::Decline { seat: first });
    assert_eq!(world.loss(world.provider_of(first)), A / 2);
    world.commit(second, &right());
    let standby = world.verifiers()[0];
    world.timeout();
    assert_eq!(world.loss(world.provider_of(standby)), A);
    assert_eq!(world.misses, vec![world.provider_of(standby)]);
    let third = world.verifiers()[0];
    world.commit(third, &right());
    world.reveal(right());
    assert_eq!(world.record.clone().unwrap().verdict, Verdict::VerifiedThin);
    world.close();
}

#[test]
fn a_standby_whose_stake_went_elsewhere_is_passed_over_in_drawn_order() {
    let mut world = World::new(6);
    world.reach_verifying();
    let [gone, next] = [world.job.standby[0].provider, world.job.standby[1].provider];
    world.elsewhere.insert(gone, STAKE);
    let first = world.verifiers()[0];
    world.step(Input::Decline { seat: first });
    let passed = world.job.seats.iter().find(|seat| seat.provider == gone).unwrap();
    assert_eq!((passed.outcome, passed.bonded), (SeatOutcome::Unbonded, false));
    let seated: Vec<_> = world.verifiers().iter().map(|seat| world.provider_of(*seat)).collect();
    assert!(seated.contains(&next));
    for seat in world.verifiers() {
        world.commit(seat, &right());
    }
    world.reveal(right());
    world.close();
    assert_eq!(world.loss(gone), 0);
}

#[test]
fn when_every_verifier_concedes_the_executor_is_paid_but_nothing_is_called_verified() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(), reject(), reject()]);
    world.reveal(right());
    world.reveal(reject());
    for seat in [1, 2] {
        world.step(Input::Concede { seat });
    }
    let record = world.record.clone().unwrap();
    assert_eq!(record.verdict, Verdict::Committed);
    assert_eq!(record.payments.executor, Amount::new(F));
    assert_eq!(record.payments.verifiers, Amount::ZERO);
    world.close();
    assert_eq!(world.loss(world.provider_of(1)), BOND / 4);
}

#[test]
fn standby_seats_exhausted_end_without_a_verdict() {
    let mut world = World::new(4);
    world.reach_verifying();
    while world.job.phase == Phase::Verifying {
        world.timeout();
    }
    assert_eq!(world.job.phase, Phase::Inconclusive);
    world.close();
    let executor = world.provider_of(0);
    assert_eq!(world.loss(executor), 0);
}

#[test]
fn no_reveal_before_every_counted_seat_has_committed() {
    let mut world = World::new(6);
    world.reach_verifying();
    let seat = world.verifiers()[0];
    world.commit(seat, &right());
    assert_eq!(world.try_step(Input::Reveal { opening: right() }), Err(Refusal::WrongPhase));
}

#[test]
fn one_honest_reveal_opens_every_seat_that_holds_it_and_no_other() {
    let mut world = World::new(6);
    world.reach_revealing(&[reject(), right(), right()]);
    assert_eq!(
        world.try_step(Input::Reveal { opening: opening(ValueKind::Ok, 77) }),
        Err(Refusal::OpensNothing)
    );
    world.reveal(right());
    assert_eq!(world.job.counted_seats().filter(|s| s.value == Some(0)).count(), 2);
    assert!(matches!(world.job.phase, Phase::Revealing { .. }));
    world.reveal(reject());
    assert!(matches!(world.job.phase, Phase::Disputed { .. }));
}

#[test]
fn a_value_that_nobody_opens_counts_as_different() {
    let mut world = World::new(6);
    world.reach_revealing(&[reject(), right(), right()]);
    world.reveal(right());
    world.timeout();
    assert!(matches!(world.job.phase, Phase::Disputed { .. }));
}

#[test]
fn an_executor_that_concedes_loses_half_its_bond() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(), reject(), reject()]);
    world.reveal(right());
    world.reveal(reject());
    world.step(Input::Concede { seat: 0 });
    assert!(matches!(world.job.phase, Phase::Settled { .. }));
    let executor = world.provider_of(0);
    assert_eq!(world.loss(executor), BOND / 2);
    assert_eq!(world.misses, vec![executor]);
    let record = world.record.clone().unwrap();
    assert_eq!(record.payments.executor, Amount::ZERO, "a rejected answer earns nothing");
    assert_eq!(world.gain(world.provider_of(1)), A + F_MAX / 2);
    world.close();
    let steps = Params::MAIN.step_fee.get() * u128::from(world.job.steps);
    assert_eq!(world.gain(REQUESTER), world.job.quote.escrow.get() - 2 * A - steps + F_MAX);
}

#[test]
fn a_verifier_that_concedes_loses_a_quarter() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(), right(), reject()]);
    world.reveal(right());
    world.reveal(reject());
    world.step(Input::Concede { seat: 2 });
    assert!(matches!(world.job.phase, Phase::Settled { .. }));
    assert_eq!(world.loss(world.provider_of(2)), BOND / 4);
    assert_eq!(world.record.clone().unwrap().payments.executor, Amount::new(F));
    world.close();
}

#[test]
fn the_referee_takes_the_whole_bond_of_every_wrong_seat() {
    let mut world = World::new(6);
    world.reach_revealing(&[reject(), right(), reject()]);
    world.reveal(right());
    world.timeout();
    world.timeout();
    assert!(matches!(world.job.phase, Phase::Refereeing { .. }));
    world.step(Input::Verdict { opening: Some(right()) });
    assert_eq!(world.record.clone().unwrap().verdict, Verdict::Refereed);
    for seat in [0, 2] {
        assert_eq!(world.loss(world.provider_of(seat)), BOND);
    }
    assert_eq!(world.faults.len(), 2);
    assert_eq!(world.loss(world.provider_of(1)), 0, "a right seat never loses");
    world.close();
}

#[test]
fn without_a_verdict_nobody_is_slashed() {
    for verdict in [Some(Input::Verdict { opening: None }), None] {
        let mut world = World::new(6);
        world.reach_revealing(&[reject(), right(), right()]);
        world.timeout();
        world.timeout();
        match verdict {
            Some(input) => world.step(input),
            None => world.timeout(),
        }
        assert_eq!(world.job.phase, Phase::Inconclusive);
        world.close();
        assert!(world.lost.is_empty());
    }
}

#[test]
fn everybody_conceding_ends_without_a_verdict_but_not_without_loss() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(), reject(), reject()]);
    world.timeout();
    for seat in 0..3 {
        world.step(Input::Concede { seat });
    }
    assert_eq!(world.job.phase, Phase::Inconclusive);
    world.close();
    assert_eq!(world.loss(world.provider_of(0)), BOND / 2);
    assert_eq!(world.loss(world.provider_of(1)), BOND / 4);
}

#[test]
fn two_commitments_for_one_seat_convict_it() {
    let mut world = World::new(6);
    world.reach_verifying();
    let seat = world.verifiers()[0];
    world.commit(seat, &right());
    let held = world.job.seats.iter().find(|s| s.index == seat).unwrap().clone();
    let other = world.sign(&held, Digest32::from_bytes([7; 32]), None);
    let forged = SignedCommitment { signature: Signature([1; 64]), ..other };
    let equivocate = |commitment| Input::Equivocate { seat, commitment, claim: None };
    assert_eq!(world.try_step(equivocate(forged)), Err(Refusal::NoEquivocation));
    assert_eq!(world.try_step(equivocate(held.commitment.unwrap())), Err(Refusal::NoEquivocation));
    world.step(equivocate(other));
    assert_eq!(world.loss(held.provider), BOND);
    assert_eq!(world.verifiers().len(), 2, "a standby seat takes its place");
    assert_eq!(world.try_step(equivocate(other)), Err(Refusal::WrongSeat), "convicted once");
    for seat in world.verifiers() {
        world.commit(seat, &right());
    }
    world.reveal(right());
    world.close();
}

#[test]
fn an_equivocating_executor_ends_the_job() {
    let mut world = World::new(6);
    world.reach_verifying();
    let held = world.job.executor().unwrap().clone();
    let claim = Some(World::claim());
    let other = world.sign(&held, Digest32::from_bytes([7; 32]), claim);
    world.step(Input::Equivocate { seat: held.index, commitment: other, claim });
    assert_eq!(world.job.phase, Phase::Inconclusive);
    world.close();
    assert_eq!(world.loss(held.provider), BOND);
}

#[test]
fn deadlines_are_inclusive_and_exact() {
    let mut world = World::new(6);
    world.draw();
    let Phase::Assigned { accept_by } = world.job.phase else { panic!("assigned") };
    world.now = accept_by;
    assert!(matches!(world.try_step(Input::Deadline), Err(Refusal::TooEarly(_))));
    let mut late = World::new(6);
    late.draw();
    late.now = accept_by.plus(Height::new(1)).unwrap();
    assert!(matches!(late.try_step(Input::Accept { seat: 0 }), Err(Refusal::TooLate(_))));
    world.step(Input::Accept { seat: 0 });
}

#[test]
fn the_requester_and_seated_providers_are_never_drawn() {
    let mut world = World::new(6);
    world.job.requester = account(1);
    world.reach_verifying();
    let drawn: Vec<_> = world.job.seats.iter().map(|s| s.provider).collect();
    assert!(!drawn.contains(&account(1)));
    let mut unique = drawn.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), drawn.len());
    assert!(world.job.standby.iter().all(|s| !drawn.contains(&s.provider)));
}

#[test]
fn a_chosen_executor_is_the_only_candidate() {
    let chosen =
        PublicRecord { direct_executor: Some(account(3)), ..record(Policy::Verified { verifiers: 2 }) };
    let mut world = World::with(6, chosen);
    world.draw();
    assert_eq!(world.job.executor().unwrap().provider, account(3));
    assert_eq!(world.job.executor_draw.unwrap().eligible, 1);
}

#[test]
fn a_replicated_request_gets_a_drawn_verifier() {
    for executions in [1, 2] {
        let mut world = World::with(6, record(Policy::Replicated { executions }));
        world.reach_verifying();
        assert_eq!(world.verifiers().len(), 1);
    }
}

#[test]
fn a_claim_beyond_the_request_is_refused() {
    let mut world = World::new(6);
    world.reach_accepted();
    let commitment = SignedCommitment { commitment: Digest32::ZERO, signature: Signature([0; 64]) };
    for claim in [
        None,
        Some(Claim { n_out: 51, ..World::claim() }),
        Some(Claim { n_out: 0, ..World::claim() }),
        Some(Claim { finish: Finish::Cancelled, ..World::claim() }),
    ] {
        let input = Input::Commit { seat: 0, commitment, claim };
        assert_eq!(world.try_step(input), Err(Refusal::BadClaim));
    }
}

#[test]
fn steps_of_another_phase_change_nothing() {
    let mut world = World::new(6);
    let before = world.job.clone();
    for input in [
        Input::Accept { seat: 0 },
        Input::Decline { seat: 0 },
        Input::Reveal { opening: right() },
        Input::Concede { seat: 0 },
        Input::Verdict { opening: None },
        Input::Deadline,
    ] {
        assert_eq!(world.try_step(input), Err(Refusal::WrongPhase));
    }
    assert_eq!(world.job, before);
}

/// What a random party does next.
#[derive(Clone, Copy, Debug)]
enum Move {
    Draw,
    Timeout,
    Accept,
    Decline(u8),
    CommitRight(u8),
    CommitWrong(u8),
    RevealRight,
    RevealWrong,
    Concede(u8),
    Verdict(bool),
    Equivocate(u8),
    Wait(u8),
    StakeGoes(u8),
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => Just(Move::Draw),
        1 => Just(Move::Timeout),
        4 => Just(Move::Accept),
        1 => (0u8..12).prop_map(Move::Decline),
        8 => (0u8..12).prop_map(Move::CommitRight),
        3 => (0u8..12).prop_map(Move::CommitWrong),
        3 => Just(Move::RevealRight),
        2 => Just(Move::RevealWrong),
        2 => (0u8..12).prop_map(Move::Concede),
        1 => any::<bool>().prop_map(Move::Verdict),
        1 => (0u8..12).prop_map(Move::Equivocate),
        1 => (1u8..30).prop_map(Move::Wait),
        1 => (0u8..12).prop_map(Move::StakeGoes),
    ]
}

impl World {
    fn random(&mut self, mv: Move) {
        let has_seat = |world: &Self, seat: u8| world.job.seats.iter().any(|s| s.index == seat);
        let refused_or_done = |_: Result<(), Refusal>| ();
        match mv {
            Move::Draw if self.job.awaits_draw().is_some() => self.draw(),
            Move::Timeout if self.job.awaits_draw().is_none() && self.job.due().is_some() => self.timeout(),
            Move::Accept => {
                let seat = self.job.executor().map_or(0, |s| s.index);
                refused_or_done(self.try_step(Input::Accept { seat }));
            }
            Move::Decline(seat) => refused_or_done(self.try_step(Input::Decline { seat })),
            Move::CommitRight(seat) if has_seat(self, seat) => {
                let input = self.commit_input(seat, &right());
                refused_or_done(self.try_step(input));
            }
            Move::CommitWrong(seat) if has_seat(self, seat) => {
                let input = self.commit_input(seat, &reject());
                refused_or_done(self.try_step(input));
            }
            Move::RevealRight => refused_or_done(self.try_step(Input::Reveal { opening: right() })),
            Move::RevealWrong => refused_or_done(self.try_step(Input::Reveal { opening: reject() })),
            Move::Concede(seat) => refused_or_done(self.try_step(Input::Concede { seat })),
            Move::Verdict(some) => {
                let opening = some.then(right);
                refused_or_done(self.try_step(Input::Verdict { opening }));
            }
            Move::Equivocate(index) if has_seat(self, index) => {
                let seat = self.job.seats.iter().find(|s| s.index == index).unwrap().clone();
                let claim = (seat.role == Role::Executor).then(World::claim);
                let commitment = self.sign(&seat, Digest32::from_bytes([7; 32]), claim);
                refused_or_done(self.try_step(Input::Equivocate { seat: index, commitment, claim }));
            }
            Move::StakeGoes(index) if usize::from(index) < self.job.standby.len() => {
                let provider = self.job.standby[usize::from(index)].provider;
                self.elsewhere.insert(provider, self.free_stake(&provider));
            }
            Move::Wait(blocks) => self.now = self.now.plus(Height::new(blocks.into())).unwrap(),
            _ => {}
        }
    }

    fn run_out(&mut self) {
        for _ in 0..64 {
            match (self.closed, self.job.awaits_draw()) {
                (true, _) => return,
                (false, Some(_)) => self.draw(),
                (false, None) => {
                    self.now = self.now.max(self.job.due().unwrap());
                    self.step(Input::Deadline);
                }
            }
        }
        panic!("the job does not end: {:?}", self.job.phase);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_job_ends_and_no_unit_is_lost(providers in 0u8..9, moves in prop::collection::vec(any_move(), 0..60)) {
        let mut world = World::new(providers);
        for mv in moves {
            if world.closed {
                break;
            }
            world.random(mv);
        }
        world.run_out();
        world.close();
        let record = world.record.clone().unwrap();
        let p = record.payments;
        let parts = [p.executor, p.verifiers, p.pot, p.burned, p.refunded];
        prop_assert_eq!(parts.iter().map(|part| part.get()).sum::<u128>(), world.job.quote.escrow.get());
    }
}
