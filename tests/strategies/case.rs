//! What one simulated market is made of: parties, what they do when, and the jobs that are asked for.
//!
//! A case decides everything that happens in it, so its text is all that is needed to see it again.

use serde::{Deserialize, Serialize};

/// One market.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Seeds keys, the beacon, salts and the order of transactions.
    pub seed: u64,
    /// Validators that sign false verdicts; together they hold less than a third of the votes.
    pub lying_validators: u8,
    /// Everyone but the validators.
    pub parties: Vec<Party>,
    /// What is asked for.
    pub jobs: Vec<Asked>,
}

/// Somebody with an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Stake in tokens; none for those who only buy.
    pub stake: u32,
    /// Its price of a verified token, in per cent of the price of a prompt token.
    pub verify_percent: u8,
    /// Whether it verifies at large, and does not serve the model.
    pub at_large: bool,
    /// Its coalition, if it has one: members share what they know and whom the draws chose.
    pub ring: Option<u8>,
    /// Where it departs from the rules; the first that fits counts. Empty for the honest.
    pub script: Vec<Rule>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Blocks after the market has opened.
    pub at: u32,
    /// The party that pays.
    pub by: usize,
    /// Which of the prepared requests.
    pub prompt: usize,
    /// Verifiers that it pays for.
    pub verifiers: u8,
    /// Whether one of them is drawn at large.
    pub at_large: bool,
    /// The executor, instead of a drawn one.
    pub direct: Option<usize>,
    /// Prices are multiplied by it.
    pub price: u32,
}

/// A departure from the rules: when, in which circumstances, what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub when: When,
    pub only: Only,
    pub what: What,
}

/// A moment in a job, as a party meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum When {
    /// It asks for the job.
    Asking,
    /// It is the executor and may accept.
    Accepting,
    /// It has accepted and owes the commitment.
    Executing,
    /// It has committed as the executor and hands the answer on.
    Delivering,
    /// It is a verifier and owes the commitment.
    Verifying,
    /// It has committed, others have not.
    Waiting,
    /// Its value is to be opened.
    Revealing,
    /// The values differ.
    Disputed,
    /// The job is paid, its bond still locked.
    Settled,
    /// What it asked for on the ledger is there.
    Asked,
    /// It is the requester of a job that is paid.
    Paid,
}

/// Circumstances of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Only {
    Always,
    /// Every seat of the round that still counts is held by friends, oneself included.
    AllFriends,
    /// At least one is not.
    SomeStranger,
    FriendExecutes,
    StrangerExecutes,
    FriendAsks,
    /// In so many of a hundred jobs.
    Percent(u8),
}

/// What is done instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Nothing, although something is owed.
    Silent,
    Decline,
    /// Accepts without looking at the input.
    AcceptBlind,
    /// Commits to something false.
    Commit(Lie),
    /// Commits to what the friend that executes committed to.
    Agree,
    /// Commits to the very bytes of another seat's commitment.
    CopyCommitment,
    /// Commits to a value that was opened in an earlier round.
    CopyOpened,
    /// Commits to what is right, and for a later look to something else.
    BadRecheck,
    /// Asks on the ledger for what it has.
    Need,
    /// Says that a good package is bad.
    Complain,
    /// Contests a settlement.
    Challenge,
    RevealEarly,
    RevealGarbage,
    /// Signs a second commitment and shows it to the ledger.
    Equivocate,
    Concede,
    /// Hands on something else, or nothing.
    Hand(Parcel, To),
    /// Asks for more than it can pay.
    Broke,
    /// States another prompt's hash.
    Misfit,
}

/// How a committed value is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lie {
    WrongToken,
    Truncate,
    OtherSeed,
    OtherTemplate,
    SwappedWeights,
    WrongFinish,
    FalseReject,
    FalseFail,
    GarbageTrace,
}

/// What a recipient gets in place of what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parcel {
    Nothing,
    /// Something well-formed that is not what was committed to.
    Other,
    /// The parcel of another job.
    Replayed,
}

/// Who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum To {
    Everyone,
    Strangers,
    /// Every second one, so that seats hold different things.
    Half,
}

impl Case {
    /// The case as it is written and read again.
    pub fn literal(&self) -> String {
        serde_json::to_string(self).expect("a case has a text")
    }

    pub fn is_friend(&self, a: usize, b: usize) -> bool {
        a == b || self.parties[a].ring.is_some() && self.parties[a].ring == self.parties[b].ring
    }
}

impl Party {
    pub fn is_honest(&self) -> bool {
        self.script.is_empty()
    }
}
