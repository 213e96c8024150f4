//! What a peer can do wrong, and what follows: one row of [`TABLE`] each.

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
    /// An announcement that its own key did not sign, or that no rule allows.
    BadAnnouncement,
    /// An envelope that its sender did not sign, or that nobody of the job is to get.
    BadEnvelope,
    /// Bytes of an artifact that do not have the hash that was asked for.
    CorruptData,
    /// Messages that the layer below refused, until its own score of the peer ran out.
    BadGossip,
    /// More than it is allowed in a time.
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

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The fault.
    pub fault: Fault,
    /// Points; they decay at [`super::DECAY_PER_S`] a second.
    pub weight: u32,
    /// What is done.
    pub action: Action,
}

const fn rule(fault: Fault, weight: u32, action: Action) -> Rule {
    Rule { fault, weight, action }
}

/// Weights against a line of 100 points. An honest peer on a slow machine makes the mild ones now and then.
pub const TABLE: [Rule; 10] = [
    // Nothing that it says can ever be of use.
    rule(Fault::WrongChain, 100, Action::Refuse),
    // No version of this program sends such bytes, but another version's may be misread: four times.
    rule(Fault::Malformed, 25, Action::Count),
    // Costs memory before it is looked at: twice.
    rule(Fault::Oversized, 50, Action::Count),
    // A signature is checked for it, and no honest node passes one on: four times.
    rule(Fault::InvalidTransaction, 25, Action::Count),
    rule(Fault::BadAnnouncement, 25, Action::Count),
    // A forged envelope can only be meant to cost somebody a job: twice.
    rule(Fault::BadEnvelope, 50, Action::Count),
    // Bytes that do not have their hash cannot come about by accident: twice, so that a bad disk is heard of first.
    rule(Fault::CorruptData, 50, Action::Count),
    rule(Fault::BadGossip, 100, Action::Refuse),
    // What is too much is dropped anyway; who goes on for ten seconds is refused.
    rule(Fault::Flood, 10, Action::Count),
    // A connection may simply be bad.
    rule(Fault::Stalled, 10, Action::Count),
];

impl Fault {
    /// Its row.
    pub fn rule(self) -> Rule {
        // The test below sees to it that there is one for each.
        TABLE.into_iter().find(|rule| rule.fault == self).unwrap_or(rule(self, 100, Action::Refuse))
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WrongChain => "it serves another chain",
            Self::Malformed => "it sent bytes that are no message",
            Self::Oversized => "it sent more than a message may hold",
            Self::InvalidTransaction => "it passed on a transaction that can never have been valid",
            Self::BadAnnouncement => "it passed on an announcement that nobody can have signed",
            Self::BadEnvelope => "it handed over a forged envelope",
            Self::CorruptData => "it sent bytes that do not have their hash",
            Self::BadGossip => "it sent messages that were refused below",
            Self::Flood => "it sends too much",
            Self::Stalled => "it did not end what it began",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_exactly_one_row_and_counts() {
        use Fault::*;
        let all = [
            WrongChain,
            Malformed,
            Oversized,
            InvalidTransaction,
            BadAnnouncement,
            BadEnvelope,
            CorruptData,
            BadGossip,
            Flood,
            Stalled,
        ];
        for fault in all {
            assert_eq!(TABLE.iter().filter(|rule| rule.fault == fault).count(), 1, "{fault:?}");
            assert!(fault.rule().weight > 0, "{fault:?}");
        }
        assert_eq!(TABLE.len(), all.len());
    }
}
