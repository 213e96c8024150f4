//! Protocol names and topics. Each carries the chain, so that nodes of different chains have nothing to say to each
//! other.

use assay_manifest::Digest32;
use libp2p::StreamProtocol;
use libp2p::gossipsub::IdentTopic;

/// What is gossiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Transactions that wait for a block.
    Transactions,
    /// Who is where.
    Announcements,
}

impl Topic {
    /// Each.
    pub const ALL: [Self; 2] = [Self::Transactions, Self::Announcements];

    const fn word(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::Announcements => "announcements",
        }
    }
}

/// The names of one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    chain: String,
}

impl Names {
    /// Those of the chain with this genesis: its first 16 hex digits stand in each.
    pub fn of(genesis: &Digest32) -> Self {
        let digits = hex::encode(genesis.as_bytes());
        Self { chain: digits.chars().take(16).collect() }
    }

    /// What stands for the chain in each.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// By which nodes of the chain know each other: what `identify` calls a protocol version.
    pub fn version(&self) -> String {
        format!("/assay/{}/1", self.chain)
    }

    /// A protocol.
    pub fn protocol(&self, word: &'static str) -> StreamProtocol {
        let name = format!("/assay/{}/{word}/1", self.chain);
        // Begins with a slash, which is all that is asked of a name.
        StreamProtocol::try_from_owned(name).unwrap_or(StreamProtocol::new("/assay"))
    }

    /// A topic.
    pub fn topic(&self, topic: Topic) -> IdentTopic {
        IdentTopic::new(format!("/assay/{}/{}/1", self.chain, topic.word()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_carries_the_chain() {
        let [one, two] = [1, 2].map(|byte| Names::of(&Digest32::from_bytes([byte; 32])));
        assert_eq!(one.version(), "/assay/0101010101010101/1");
        assert_eq!(one.protocol("envelopes").as_ref(), "/assay/0101010101010101/envelopes/1");
        assert_ne!(one.protocol("kad"), two.protocol("kad"));
        for topic in Topic::ALL {
            assert_ne!(one.topic(topic).hash(), two.topic(topic).hash());
        }
    }
}
