//! Strategies that somebody might think of, by name.

use crate::case::Lie::{
    FalseFail, FalseReject, GarbageTrace, OtherSeed, OtherTemplate, SwappedWeights, Truncate, WrongFinish,
    WrongToken,
};
use crate::case::Only::{self, AllFriends, Always, FriendExecutes, Percent, SomeStranger, StrangerExecutes};
use crate::case::Parcel::{Nothing, Other, Replayed};
use crate::case::To::{Everyone, Half, Strangers};
use crate::case::What::{
    self, Agree, Commit, Concede, CopyCommitment, CopyOpened, Decline, Equivocate, Hand, Silent,
};
use crate::case::When::{
    self, Accepting, Asked, Asking, Delivering, Disputed, Executing, Revealing, Settled, Verifying, Waiting,
};
use crate::case::{Lie, Rule};

/// A strategy: what it is called, what its members hope for, what they do.
pub struct Strategy {
    pub name: &'static str,
    pub hope: &'static str,
    pub script: Vec<Rule>,
}

const fn rule(when: When, only: Only, what: What) -> Rule {
    Rule { when, only, what }
}

fn strategy(name: &'static str, hope: &'static str, script: &[Rule]) -> Strategy {
    Strategy { name, hope, script: script.to_vec() }
}

/// An executor that lies, friends that stand by it when they hold every seat, and a way out otherwise.
fn gamble(lie: Lie, otherwise: &[Rule]) -> Vec<Rule> {
    let mut script = vec![rule(Executing, Always, Commit(lie)), rule(Verifying, AllFriends, Agree)];
    script.extend_from_slice(otherwise);
    script
}

/// Every lie of an executor.
pub const LIES: [Lie; 9] = [
    WrongToken,
    Truncate,
    OtherSeed,
    OtherTemplate,
    SwappedWeights,
    WrongFinish,
    FalseReject,
    FalseFail,
    GarbageTrace,
];

/// The strategies of providers.
pub fn of_providers() -> Vec<Strategy> {
    let mut all = gambles();
    all.extend(misdeliveries());
    all.extend(of_verifiers());
    all.extend(of_the_contentious());
    all.extend(of_the_silent());
    all
}

/// Executors that lie.
fn gambles() -> Vec<Strategy> {
    let concede = rule(Disputed, SomeStranger, Concede);
    let withhold = rule(Delivering, Always, Hand(Nothing, Strangers));
    vec![
        strategy(
            "lie and concede",
            "pays half a bond instead of a whole one",
            &gamble(SwappedWeights, &[concede]),
        ),
        strategy("lie and hold out", "hopes that nobody referees", &gamble(WrongToken, &[])),
        strategy(
            "lie and stand together",
            "hopes that two liars outvote one",
            &[rule(Executing, Always, Commit(OtherSeed)), rule(Verifying, FriendExecutes, Agree)],
        ),
        strategy(
            "lie and abort",
            "breaks the job when a stranger is drawn",
            &gamble(Truncate, &[rule(Waiting, SomeStranger, Equivocate)]),
        ),
        strategy(
            "lie and starve strangers",
            "strangers decline until only friends are left",
            &gamble(OtherTemplate, &[rule(Verifying, Always, Agree), withhold]),
        ),
        strategy(
            "lie and never open",
            "hopes that an unopened value is not a wrong one",
            &gamble(WrongFinish, &[rule(Revealing, SomeStranger, Silent)]),
        ),
        strategy("fail falsely", "is paid for the prompt", &gamble(FalseFail, &[concede])),
        strategy(
            "reject its own claim",
            "friends that verify are paid",
            &[rule(Executing, Always, Commit(FalseReject)), rule(Verifying, FriendExecutes, Agree)],
        ),
        strategy("garbage trace", "skips the work of tracing", &gamble(GarbageTrace, &[concede])),
    ]
}

/// Executors that tell the truth to the ledger and something else to others.
fn misdeliveries() -> Vec<Strategy> {
    vec![
        strategy(
            "two faces",
            "shows every second seat another answer",
            &[rule(Delivering, Always, Hand(Other, Half))],
        ),
        strategy(
            "another job's answer",
            "saves the work",
            &[rule(Delivering, Always, Hand(Replayed, Everyone))],
        ),
    ]
}

fn of_verifiers() -> Vec<Strategy> {
    vec![
        strategy(
            "rubber stamp",
            "is paid for a check that it does not make",
            &[rule(Verifying, Always, Commit(GarbageTrace))],
        ),
        strategy(
            "rubber stamp and concede",
            "loses a quarter of a bond when it is found out",
            &[rule(Verifying, Always, Commit(GarbageTrace)), rule(Disputed, Always, Concede)],
        ),
        strategy(
            "check with cheap weights",
            "saves most of the work",
            &[rule(Verifying, Always, Commit(SwappedWeights)), rule(Disputed, Always, Concede)],
        ),
        strategy(
            "reject falsely",
            "a share of the executor's bond",
            &[rule(Verifying, StrangerExecutes, Commit(FalseReject))],
        ),
        strategy(
            "fail falsely as a verifier",
            "a share of the others' bonds",
            &[rule(Verifying, StrangerExecutes, Commit(FalseFail))],
        ),
        strategy(
            "copy a commitment",
            "is paid for bytes of others",
            &[rule(Verifying, Always, CopyCommitment), rule(Disputed, Always, Concede)],
        ),
        strategy(
            "copy an opened value",
            "is paid for what an earlier round showed",
            &[rule(Verifying, Always, CopyOpened)],
        ),
    ]
}

/// Verifiers that disturb.
fn of_the_contentious() -> Vec<Strategy> {
    vec![
        strategy(
            "open early",
            "reads others' values before it commits",
            &[rule(Waiting, Always, What::RevealEarly)],
        ),
        strategy("open garbage", "confuses the ledger", &[rule(Revealing, Percent(60), What::RevealGarbage)]),
        strategy("two commitments", "keeps both ways open", &[rule(Waiting, Percent(40), Equivocate)]),
        strategy("two commitments, late", "after it was paid", &[rule(Settled, Percent(40), Equivocate)]),
        strategy("concede without need", "breaks disputes", &[rule(Disputed, Always, Concede)]),
        strategy(
            "another value for later",
            "a later look finds the others wrong",
            &[rule(Executing, Percent(50), What::BadRecheck), rule(Verifying, Always, What::BadRecheck)],
        ),
        strategy(
            "ask without need",
            "the executor has to post",
            &[rule(Accepting, Percent(50), What::Need), rule(Verifying, Percent(50), What::Need)],
        ),
        strategy(
            "complain falsely",
            "the sender loses its bond",
            &[
                rule(Accepting, Percent(50), What::Need),
                rule(Verifying, Always, What::Need),
                rule(Asked, Always, What::Complain),
            ],
        ),
        strategy(
            "ask and fall silent",
            "others' jobs take long",
            &[rule(Verifying, Always, What::Need), rule(Asked, Always, Silent)],
        ),
        strategy("contest as a seat", "a referee that errs", &[rule(Settled, Always, What::Challenge)]),
    ]
}

fn of_the_silent() -> Vec<Strategy> {
    vec![
        strategy("never accept", "others' jobs expire", &[rule(Accepting, Always, Silent)]),
        strategy(
            "always decline",
            "others' jobs expire",
            &[rule(Accepting, Always, Decline), rule(Verifying, Always, Decline)],
        ),
        strategy(
            "accept blindly",
            "holds the job without the input",
            &[rule(Accepting, Always, What::AcceptBlind), rule(Executing, Always, Silent)],
        ),
        strategy("silent executor", "others' jobs take long", &[rule(Executing, Percent(50), Silent)]),
        strategy("silent verifier", "others' jobs take long", &[rule(Verifying, Always, Silent)]),
        strategy("decline to verify", "others' jobs take long", &[rule(Verifying, Always, Decline)]),
        strategy(
            "never open",
            "others' values stay closed",
            &[rule(Revealing, Always, Silent), rule(Disputed, Always, Silent)],
        ),
        strategy(
            "decline for strangers",
            "a friend on standby gets the seat",
            &[rule(Verifying, SomeStranger, Decline)],
        ),
        strategy(
            "silent for strangers",
            "a friend on standby gets the seat",
            &[rule(Verifying, SomeStranger, Silent)],
        ),
        strategy(
            "hand nothing on",
            "verifiers pay for declining",
            &[rule(Delivering, Always, Hand(Nothing, Everyone))],
        ),
    ]
}

/// The strategies of requesters.
pub fn of_requesters() -> Vec<Strategy> {
    vec![
        strategy("cannot pay", "work for nothing", &[rule(Asking, Always, What::Broke)]),
        strategy(
            "withhold the input",
            "executors pay",
            &[rule(Asking, Percent(60), Hand(Nothing, Everyone))],
        ),
        strategy(
            "withhold from strangers",
            "friends get the seats",
            &[rule(Asking, Always, Hand(Nothing, Strangers))],
        ),
        strategy("another input for each", "honest seats differ", &[rule(Asking, Always, Hand(Other, Half))]),
        strategy(
            "another job's input",
            "honest seats differ",
            &[rule(Asking, Percent(70), Hand(Replayed, Half))],
        ),
        strategy(
            "contest what is right",
            "a referee that errs",
            &[rule(When::Paid, Always, What::Challenge)],
        ),
        strategy("ask for what it has", "the executor has to post", &[rule(When::Paid, Always, What::Need)]),
        strategy("a prompt that does not fit", "nobody can work", &[rule(Asking, Percent(50), What::Misfit)]),
    ]
}
