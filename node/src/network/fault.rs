//! What a peer can do wrong, and what follows: one row of [`Fault::rule`] each.

use serde::{Deserialize, Serialize};

/// Something that a peer did and should not have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// It serves another chain.
    WrongChain,
    /// Bytes that are no message.
    Malformed,
    /// More bytes than a message of its kind may have.
    Oversized,
    /// A transaction that can never have been valid.
    InvalidTransaction,
    /// An announcement of another chain, or that names no place.
    BadAnnouncement,
    /// An envelope that its sender did not sign, or that nobody of the job is to get.
    BadEnvelope,
    /// Bytes of an artifact that do not have the hash that was asked for.
    CorruptData,
    /// Messages that the layer below refused, until its own score of the peer ran out.
    BadGossip,
    /// More questions and answers than it is allowed in a time. What others gossip through it is not its own doing.
    Flood,
    /// A transfer or an answer that it began and did not end.
    Stalled,
}

/// What is done about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It counts; a peer that has collected [`super::LINE`] points is disconnected and refused for a time.
    Count,
    /// The peer is disconnected and refused for a time at once.
    Refuse,
}

/// What is known of a fault: a row of the table that [`Fault::rule`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Points; they decay at [`super::DECAY_PER_S`] a second.
    pub weight: u32,
    /// What is done.
    pub action: Action,
    /// What the peer did.
    pub says: &'static str,
}

const fn count(weight: u32, says: &'static str) -> Rule {
    Rule { weight, action: Action::Count, says }
}

const fn refuse(says: &'static str) -> Rule {
    Rule { weight: super::LINE, action: Action::Refuse, says }
}

impl Fault {
    /// Its row. Weights count against a line of 100 points; an honest peer on a slow machine makes the mild faults now
    /// and then.
    pub const fn rule(self) -> Rule {
        match self {
            // Nothing that it says can ever be of use.
            Self::WrongChain => refuse("it serves another chain"),
            // No version of this program sends such bytes, but another version's may be misread: four times.
            Self::Malformed => count(25, "it sent bytes that are no message"),
            // Costs memory before it is looked at: twice.
            Self::Oversized => count(50, "it sent more than a message may hold"),
            // A signature is checked for it, and no honest node passes one on: four times.
            Self::InvalidTransaction => {
                count(25, "it passed on a transaction that can never have been valid")
            }
            Self::BadAnnouncement => count(25, "it passed on an announcement that nobody can have made"),
            // A forged envelope can only be meant to cost somebody a job: twice.
            Self::BadEnvelope => count(50, "it handed over a forged envelope"),
            // Bytes that do not have their hash cannot come about by accident: twice, so that a bad disk is heard of
            // first.
            Self::CorruptData => count(50, "it sent bytes that do not have their hash"),
            Self::BadGossip => refuse("it sent messages that were refused below"),
            // What is too much is dropped anyway; who goes on for ten seconds is refused.
            Self::Flood => count(10, "it asks too much"),
            // A connection may simply be bad.
            Self::Stalled => count(10, "it did not end what it began"),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.rule().says)
    }
}
