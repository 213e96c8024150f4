//! What nodes send one another.

use std::fmt;

use assay_node::consensus::bft::{BlockHash, Chain, Part};
use assay_protocol::seal::Envelope;
use malachite_core_consensus::{LivenessMsg, SignedConsensusMsg};
use malachite_core_types::{NilOrVal, VoteType};
use malachite_engine::util::streaming::{StreamContent, StreamMessage};
use malachite_sync::RawDecidedValue;

use crate::log::Log;

/// A message between nodes.
#[derive(Clone, Debug)]
pub enum Packet {
    Consensus(SignedConsensusMsg<Chain>),
    Liveness(LivenessMsg<Chain>),
    Part(StreamMessage<Part>),
    /// The height of the sender's last block.
    Status(u64),
    /// Asks for decided blocks, from a height on.
    Ask {
        from: u64,
        count: u64,
    },
    /// Decided blocks from a height on.
    Decided {
        from: u64,
        values: Vec<RawDecidedValue<Chain>>,
    },
    Transaction(Vec<u8>),
    Mail(Box<Envelope>),
}

impl Packet {
    /// In a line, without what differs between two runs of a seed.
    pub fn line(&self, log: &mut Log) -> String {
        let mut name = |value: &BlockHash| log.name(value.0);
        match self {
            Self::Consensus(SignedConsensusMsg::Vote(vote)) | Self::Liveness(LivenessMsg::Vote(vote)) => {
                let kind = if vote.kind == VoteType::Prevote { "prevote" } else { "precommit" };
                let value: &dyn fmt::Display = match &vote.value {
                    NilOrVal::Nil => &"nil",
                    NilOrVal::Val(value) => &name(value),
                };
                format!("{kind} {}/{} for {value}", vote.height, vote.round)
            }
            Self::Consensus(SignedConsensusMsg::Proposal(proposal)) => {
                format!("proposal {}/{} of {}", proposal.height, proposal.round, name(&proposal.value))
            }
            Self::Liveness(LivenessMsg::PolkaCertificate(polka)) => {
                format!("polka {}/{} for {}", polka.height, polka.round, name(&polka.value_id))
            }
            Self::Liveness(LivenessMsg::SkipRoundCertificate(skip)) => {
                format!("round certificate {}/{}", skip.height, skip.round)
            }
            Self::Part(part) => match &part.content {
                StreamContent::Data(Part::Opening(opening)) => {
                    format!("opening {}/{} of {}", opening.height, opening.round, name(&opening.value))
                }
                StreamContent::Data(Part::Piece(piece)) => format!("piece of {} bytes", piece.len()),
                StreamContent::Fin => "end of a block".into(),
            },
            Self::Status(tip) => format!("status {tip}"),
            Self::Ask { from, count } => format!("asks for {count} from {from}"),
            Self::Decided { from, values } => format!("{} decided from {from}", values.len()),
            Self::Transaction(bytes) => format!("transaction of {} bytes", bytes.len()),
            Self::Mail(envelope) => format!("{:?} for seat {}", envelope.purpose, envelope.seat),
        }
    }
}
