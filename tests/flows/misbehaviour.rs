//! A provider that is gone, silent, wrong or overcommitted, in a network of real nodes: the job ends, and nobody but
//! that provider pays for it.
//!
//! Who serves bad bytes of an artifact is found out range by range, and the others give the rest; that is in
//! `node/src/blobs/tests/fetching.rs`. A node that keeps to the rules computes the ids of what it loads from the files,
//! and so does not serve altered weights without knowing; that is in `node/src/adapters/models.rs`.

use assay_node::chain_spec::ChainSpec;
use assay_node::client::{Order, Wish, is_right};
use assay_node::keys::Key;
use assay_node::worker::{Served, Step};
use assay_protocol::commitment::ValueKind;
use assay_protocol::fees::verification_fee;
use assay_protocol::job::{Phase, SeatOutcome, SettlementRecord, Verdict};
use assay_protocol::params::Params;
use assay_protocol::party::Role;
use assay_protocol::seal::{Envelope, Purpose};
use assay_protocol::units::{Amount, Tokens};
use assay_runtime::{AccountId, Balance, GenesisSpec, UNIT};
use futures::future::join;

use crate::crooks::{Crook, Lair, VERIFY_PRICE, Vice};
use crate::region::{MODEL_FILE, Part, Region, Running, answer_of, buyer, offer, publish};
use crate::sums::{Sums, stakes};

/// As much as honest providers stake.
const STAKE: Balance = 1_000 * UNIT;
/// So much that nobody else is drawn but once in hundreds of times.
const MOST_OF_ALL_STAKE: Balance = 900_000 * UNIT;
/// Jobs that are bought until the most of all stake is drawn.
const ATTEMPTS: usize = 5;

/// Nodes that keep to the rules, and a provider that does not.
struct Town {
    validators: Vec<Running>,
    /// Through which the buyer buys.
    buyers: Running,
    sellers: Vec<Running>,
    /// Until it is gone.
    crook: Option<Crook>,
    crooks: AccountId,
    served: Served,
    buyer: Key,
    sums: Sums,
    /// What honest providers have staked.
    stakes: Vec<Balance>,
    /// What the crook has.
    crooks_stake: Balance,
}

impl Town {
    /// A validator, a buyer's node, so many honest providers, and the next as the crook.
    async fn new(honest: u32, vice: Vice, stake: Balance) -> Self {
        Self::of(1, honest, vice, stake).await
    }

    /// The same with so many validators.
    async fn of(validators: u32, honest: u32, vice: Vice, stake: Balance) -> Self {
        let spec = ChainSpec::local(validators).unwrap();
        // Nobody here concedes, no proposer withholds blocks, and no honest node is away.
        let params =
            Params { concede_window: 3, verifier_draw_delay: 2, data_window: 12, ..Params::DEVELOPMENT };
        let spec = ChainSpec { genesis: GenesisSpec { params, ..spec.genesis }, ..spec };
        let mut region = Region::new(spec, validators as usize);
        let mut deciding = Vec::new();
        for number in 1..=validators {
            deciding.push(region.start(Part::validator(number)).await);
        }
        let buyers = region.start(Part::follower()).await;
        let mut sellers = Vec::new();
        for number in 1..=honest {
            sellers.push(region.start(Part::provider(number)).await);
        }
        let served = publish(&sellers).await;
        let file = std::fs::read(sellers[0].dir.path().join(MODEL_FILE)).unwrap();
        let crook = Crook::start(&mut region, honest + 1, served, &file, vice).await;
        join(offer(&sellers, served), crook.offer(served, stake, 8)).await;
        buyers.knows_offers(&served, honest as usize + 1).await;
        let sums = Sums::read(&buyers.client).await;
        let honest = stakes(&buyers.client, &accounts(&sellers)).await;
        let crooks = crook.account();
        let crooks_stake = stakes(&buyers.client, std::slice::from_ref(&crooks)).await[0];
        let (crook, buyer) = (Some(crook), buyer());
        let validators = deciding;
        Self { validators, buyers, sellers, crook, crooks, served, buyer, sums, stakes: honest, crooks_stake }
    }

    /// Binds a question; one of those who sell counts its prompt.
    async fn draft(&self, text: &str, executor: Option<AccountId>) -> Order {
        let wish = crate::parties::wish(self.served.model_id, text.into());
        let wish = Wish { direct_executor: executor, ..wish };
        self.sellers[0].client.draft(self.buyer.account(), wish).await.unwrap()
    }

    async fn buy(&self, text: &str, executor: Option<AccountId>) -> (Order, SettlementRecord) {
        let order = self.draft(text, executor).await;
        self.buyers.client.place(&self.buyer, &order).await.unwrap();
        let record = self.ended(&order).await;
        (order, record)
    }

    async fn ended(&self, order: &Order) -> SettlementRecord {
        let client = &self.buyers.client;
        client.follow_order(&self.buyer, order, |_| {}).await.unwrap();
        client.job(&order.job).await.unwrap().settlement.unwrap()
    }

    async fn answer(&self, order: &Order, record: &SettlementRecord) -> String {
        answer_of(&self.sellers, order, record).await
    }

    /// The crook's stake has lost so much, and nobody else's anything; no token has vanished otherwise. Whoever had to
    /// ask for its data on the ledger has paid for the package, and that is no penalty.
    async fn only_the_crook_has_paid(&self, lost: impl Fn(Balance) -> bool) {
        let client = &self.buyers.client;
        self.sums.check(client).await;
        let everybody: Vec<_> = accounts(&self.sellers).into_iter().chain([self.crooks.clone()]).collect();
        let packages = self.sums.paid_for_packages(client, &everybody).await;
        let mut left = stakes(client, &everybody).await;
        left.iter_mut().zip(packages).for_each(|(left, paid)| *left += paid);
        let crooks = left.pop().unwrap();
        assert_eq!(left, self.stakes);
        assert!(lost(self.crooks_stake - crooks), "the crook lost {}", self.crooks_stake - crooks);
    }

    /// What became of the crook as the first executor, if it was drawn as that.
    fn crook_as_executor(&self, record: &SettlementRecord) -> Option<SeatOutcome> {
        let first = record.seats.iter().find(|seat| seat.role == Role::Executor).unwrap();
        (AccountId::from(first.provider) == self.crooks).then_some(first.outcome)
    }

    async fn fee(&self, order: &Order) -> Balance {
        self.buyers.client.quote(order).await.unwrap().job_fee.get()
    }

    async fn stop(self) {
        if let Some(crook) = self.crook {
            crook.stop().await;
        }
        for node in self.sellers.into_iter().chain([self.buyers]).chain(self.validators) {
            node.stop().await;
        }
    }
}

fn accounts(sellers: &[Running]) -> Vec<AccountId> {
    sellers.iter().flat_map(Running::sellers).map(|key| key.account()).collect()
}

fn outcome_of(record: &SettlementRecord, provider: &AccountId) -> Option<SeatOutcome> {
    let own = record.seats.iter().find(|seat| AccountId::from(seat.provider) == *provider);
    own.map(|seat| seat.outcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_runs_other_weights_is_outvoted_and_pays_its_bond() {
    let vice = Vice { compute: Lair::with_other_weights, ..Vice::NONE };
    let town = Town::new(2, vice, STAKE).await;
    let (order, record) = town.buy("What is 12 + 30?", Some(town.crooks.clone())).await;
    let bond = town.buyers.client.quote(&order).await.unwrap().bond.get();
    assert_eq!(record.verdict, Verdict::Refereed);
    assert!(!is_right(&record));
    assert_eq!(outcome_of(&record, &town.crooks), Some(SeatOutcome::Wrong));
    for honest in accounts(&town.sellers) {
        assert_eq!(outcome_of(&record, &honest), Some(SeatOutcome::Right));
    }
    assert_eq!(record.opening.unwrap().kind, ValueKind::Reject, "other weights give another answer");
    assert_eq!(record.payments.executor, Amount::ZERO);
    assert!(record.seats.iter().all(|seat| (seat.role == Role::Verifier) == (seat.paid.get() > 0)));
    town.only_the_crook_has_paid(|lost| lost == bond).await;
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_validators_decide_a_dispute_each_by_a_vote_of_its_own() {
    let vice = Vice { compute: Lair::with_other_weights, ..Vice::NONE };
    let town = Town::of(4, 2, vice, STAKE).await;
    let (order, record) = town.buy("What is 12 + 30?", Some(town.crooks.clone())).await;
    let bond = town.buyers.client.quote(&order).await.unwrap().bond.get();
    assert_eq!(record.verdict, Verdict::Refereed);
    assert_eq!(outcome_of(&record, &town.crooks), Some(SeatOutcome::Wrong));
    for honest in accounts(&town.sellers) {
        assert_eq!(outcome_of(&record, &honest), Some(SeatOutcome::Right));
    }
    town.only_the_crook_has_paid(|lost| lost == bond).await;
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verifier_that_never_opens_what_it_committed_to_gains_nothing_by_it() {
    let hides = |step: &Step| !matches!(step, Step::Reveal { .. });
    let vice = Vice { compute: Lair::with_invented_traces, submits: hides, ..Vice::NONE };
    let town = Town::new(2, vice, STAKE).await;
    let executor = town.sellers[0].sellers()[0].account();
    // The right value is opened by whoever else committed to it.
    let (order, record) = town.buy("What is 12 + 30?", Some(executor.clone())).await;
    assert_eq!((record.verdict, is_right(&record)), (Verdict::VerifiedThin, true));
    assert_eq!(town.answer(&order, &record).await, "42.");
    town.only_the_crook_has_paid(|lost| lost == 0).await;
    // Another one is opened by nobody, and counts as different.
    let (order, record) = town.buy("What is 11 + 30?", Some(executor)).await;
    let bond = town.buyers.client.quote(&order).await.unwrap().bond.get();
    assert_eq!(record.verdict, Verdict::Refereed);
    assert!(is_right(&record));
    assert_eq!(town.answer(&order, &record).await, "41.");
    assert_eq!(outcome_of(&record, &town.crooks), Some(SeatOutcome::Wrong));
    for honest in accounts(&town.sellers) {
        assert_eq!(outcome_of(&record, &honest), Some(SeatOutcome::Right));
    }
    town.only_the_crook_has_paid(|lost| lost == bond).await;
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verifier_of_whom_nothing_is_heard_is_replaced_and_pays_for_one_verification() {
    let town = Town::new(3, Vice { submits: |_| false, ..Vice::NONE }, MOST_OF_ALL_STAKE).await;
    let executor = town.sellers[0].sellers()[0].account();
    for _ in 0..ATTEMPTS {
        let (order, record) = town.buy("What is 12 + 30?", Some(executor.clone())).await;
        assert!(is_right(&record), "{record:?}");
        assert_eq!(town.answer(&order, &record).await, "42.");
        let Some(outcome) = outcome_of(&record, &town.crooks) else { continue };
        assert_eq!(outcome, SeatOutcome::Silent);
        let (n_in, n_out) = (record.request.n_in, Tokens::new(record.claim.unwrap().n_out));
        let fee = verification_fee(VERIFY_PRICE, n_in, n_out).unwrap().get();
        town.only_the_crook_has_paid(|lost| lost == fee).await;
        return town.stop().await;
    }
    panic!("the most of all stake was not drawn {ATTEMPTS} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_keeps_its_answer_from_the_verifiers_pays_its_bond_and_the_buyer_nothing() {
    let submits = |step: &Step| !matches!(step, Step::Post { .. });
    let hands = |envelope: &Envelope| envelope.purpose != Purpose::Work;
    let town = Town::new(2, Vice { submits, hands, ..Vice::NONE }, STAKE).await;
    let (order, record) = town.buy("What is 12 + 30?", Some(town.crooks.clone())).await;
    let bond = town.buyers.client.quote(&order).await.unwrap().bond.get();
    assert_eq!(record.verdict, Verdict::Inconclusive);
    assert_eq!(outcome_of(&record, &town.crooks), Some(SeatOutcome::Withheld));
    let paid = &record.payments;
    assert_eq!((paid.executor, paid.verifiers), (Amount::ZERO, Amount::ZERO));
    town.only_the_crook_has_paid(|lost| lost == bond).await;
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_is_gone_after_it_accepted_is_replaced_and_pays_a_tenth_of_the_fee() {
    let vice = Vice { compute: Lair::slow::<0>, ..Vice::NONE };
    let mut town = Town::new(3, vice, MOST_OF_ALL_STAKE).await;
    for _ in 0..ATTEMPTS {
        let order = town.draft("What is 12 + 30?", None).await;
        town.buyers.client.place(&town.buyer, &order).await.unwrap();
        let job = town.buyers.client.job_on_ledger(&order.job).await.unwrap().unwrap();
        let executor = job.round_seats().find(|seat| seat.role == Role::Executor).unwrap();
        if AccountId::from(executor.provider) != town.crooks {
            town.ended(&order).await;
            continue;
        }
        assert!(matches!(job.phase, Phase::Accepted { .. }));
        town.crook.take().unwrap().stop().await;
        let record = town.ended(&order).await;
        assert_eq!(town.crook_as_executor(&record), Some(SeatOutcome::Silent));
        assert!(record.round > 1 && is_right(&record), "{record:?}");
        assert_eq!(town.answer(&order, &record).await, "42.");
        let tenth = town.fee(&order).await / 10;
        town.only_the_crook_has_paid(|lost| lost == tenth).await;
        return town.stop().await;
    }
    panic!("the most of all stake was not drawn {ATTEMPTS} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_announces_more_than_its_machine_can_do_pays_for_what_it_does_not_get_done() {
    let vice = Vice { compute: Lair::slow::<1>, ..Vice::NONE };
    let town = Town::new(3, vice, MOST_OF_ALL_STAKE).await;
    let (mut done, mut penalties) = (0, Vec::new());
    for _ in 0..ATTEMPTS {
        let (client, buyer) = (&town.buyers.client, &town.buyer);
        let first = town.draft("What is 12 + 30?", None).await;
        client.request_job(buyer, &first).await.unwrap();
        let second = town.draft("What is 12 + 30?", None).await;
        client.request_job(buyer, &second).await.unwrap();
        let (of_first, of_second) = join(town.ended(&first), town.ended(&second)).await;
        for (order, record) in [(first, of_first), (second, of_second)] {
            assert!(is_right(&record), "{record:?}");
            match town.crook_as_executor(&record) {
                Some(SeatOutcome::Right) => done += 1,
                Some(SeatOutcome::Silent) => {
                    penalties.push(town.fee(&order).await / 10);
                    assert_eq!(town.answer(&order, &record).await, "42.");
                }
                // A machine with so much to do that it seems slow to itself takes on no second job at once.
                Some(SeatOutcome::Declined) | None => {
                    assert_eq!(town.answer(&order, &record).await, "42.");
                }
                Some(other) => panic!("{other:?}: {record:?}"),
            }
        }
        if done > 0 && !penalties.is_empty() {
            assert_eq!(done, 1, "its machine does no more");
            town.only_the_crook_has_paid(|lost| lost == penalties.iter().sum()).await;
            return town.stop().await;
        }
    }
    panic!("the most of all stake was not drawn {ATTEMPTS} times");
}
