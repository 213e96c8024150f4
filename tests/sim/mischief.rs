//! What a Byzantine validator does: it runs the node's own code, and what that sends is changed on the way out.
//!
//! It votes for two things, proposes two blocks or one that is invalid, says nothing, claims to be further than it is, and
//! answers who asks for decided blocks with forged ones. All of them together have less than a third of the votes.

use std::fmt;

use assay_node::consensus::bft::{
    BlockHash, Chain, Contents, Height, Opening, Proposal, Signing, ValidatorKey, Vote, VoteSignature,
    extended, split,
};
use assay_protocol::last_commit::LastCommit;
use assay_protocol::signature::Signature;
use assay_runtime::executor::extrinsics_root;
use assay_runtime::{Block, RuntimeCall, UncheckedExtrinsic, last_commit};
use codec::Encode;
use frame_support::BoundedVec;
use malachite_core_consensus::SignedConsensusMsg;
use malachite_core_types::{
    CommitCertificate, CommitSignature, NilOrVal, Round, SignedProposal, SignedVote, VoteType,
};
use malachite_signing::Signer;
use malachite_sync::RawDecidedValue;
use pallet_assay_validators::Call;
use rand::Rng;
use rand::rngs::StdRng;
use sp_runtime::traits::{BlakeTwo256, Hash as _};

use futures::executor::block_on;

use crate::node::{Node, Out};
use crate::packet::Packet;

/// How often it departs from the rules where it would, in per cent.
const OFTEN_PERCENT: u32 = 30;

/// How often each departure happened.
#[derive(Clone, Debug, Default)]
pub struct Departures {
    pub votes: u64,
    pub blocks: u64,
    pub invalid: u64,
    /// Blocks with another body than their header names.
    pub bodies: u64,
    /// Of the invalid blocks, those with a bad commit of the one before.
    pub commits: u64,
    pub silences: u64,
    pub forgeries: u64,
}

impl Departures {
    pub fn add(&mut self, other: &Self) {
        self.votes += other.votes;
        self.blocks += other.blocks;
        self.invalid += other.invalid;
        self.bodies += other.bodies;
        self.commits += other.commits;
        self.silences += other.silences;
        self.forgeries += other.forgeries;
    }
}

impl fmt::Display for Departures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { votes, blocks, invalid, bodies, commits, silences, forgeries } = self;
        write!(
            f,
            "{votes} double votes, {blocks} second and {invalid} invalid blocks, {commits} of them with a bad commit, \
             {bodies} with another body, {silences} silences, {forgeries} forged answers"
        )
    }
}

/// The mind of a Byzantine validator.
pub struct Mischief {
    dice: StdRng,
    signing: Signing,
    /// Keys of all validators, in whose names it forges.
    names: Vec<ValidatorKey>,
    nodes: usize,
    /// Whether it votes for two things, for which it is convicted and decides nothing more.
    votes_twice: bool,
    pub done: Departures,
}

impl Mischief {
    pub fn new(mut dice: StdRng, signing: Signing, names: Vec<ValidatorKey>, nodes: usize) -> Self {
        let votes_twice = dice.gen_bool(0.5);
        Self { dice, signing, names, nodes, votes_twice, done: Departures::default() }
    }

    /// Changes what the node would send.
    pub fn distort(&mut self, node: &Node, outs: Vec<Out>) -> Vec<Out> {
        outs.into_iter().flat_map(|out| self.change(node, out)).collect()
    }

    fn change(&mut self, node: &Node, out: Out) -> Vec<Out> {
        let (to, packet) = match out {
            Out::Send(to, packet) => (to, packet),
            other => return vec![other],
        };
        let departs = self.dice.gen_ratio(OFTEN_PERCENT, 100);
        match packet {
            _ if !departs => vec![Out::Send(to, packet)],
            Packet::Consensus(SignedConsensusMsg::Vote(vote)) => self.vote(vote),
            Packet::Consensus(SignedConsensusMsg::Proposal(proposal)) => self.propose(node, proposal),
            Packet::Status(tip) => vec![Out::Send(to, Packet::Status(tip + 1))],
            Packet::Decided { from, values } => {
                let values = self.forge(node, from, values);
                vec![Out::Send(to, Packet::Decided { from, values })]
            }
            Packet::Liveness(_) | Packet::Part(_) => {
                self.done.silences += 1;
                Vec::new()
            }
            packet => vec![Out::Send(to, packet)],
        }
    }

    /// Says nothing, or one thing to some and another to the rest, or both to all.
    fn vote(&mut self, vote: SignedVote<Chain>) -> Vec<Out> {
        if !self.votes_twice || self.dice.gen_bool(0.7) {
            self.done.silences += 1;
            return Vec::new();
        }
        self.done.votes += 1;
        let value = match vote.message.value {
            NilOrVal::Val(_) => NilOrVal::Nil,
            NilOrVal::Nil => NilOrVal::Val(BlockHash(self.dice.r#gen())),
        };
        let other =
            block_on(self.signing.sign_vote(Vote { value, ..vote.message.clone() })).expect("a signature");
        self.send_to_sides(
            [vote, other].map(SignedConsensusMsg::Vote).map(Packet::Consensus).map(|packet| vec![packet]),
        )
    }

    /// Proposes another block to some, which may be invalid, or one block to all, to some with another body.
    fn propose(&mut self, node: &Node, proposal: SignedProposal<Chain>) -> Vec<Out> {
        let own = Packet::Consensus(SignedConsensusMsg::Proposal(proposal.clone()));
        let Some(mut block) = node.rival(self.dice.gen_range(1..1_000)) else {
            return vec![Out::Send(None, own)];
        };
        let first = match self.dice.gen_range(0..3) {
            0 => {
                self.done.bodies += 1;
                let whole = self.rival(&proposal.message, &block);
                block.extrinsics.extend(block.extrinsics.first().cloned());
                whole
            }
            1 => {
                self.done.invalid += 1;
                self.spoil(&mut block);
                vec![own]
            }
            _ => {
                self.done.blocks += 1;
                vec![own]
            }
        };
        let second = self.rival(&proposal.message, &block);
        self.send_to_sides([first, second])
    }

    /// A block and the proposal of its hash, in the place of another proposal.
    fn rival(&self, proposal: &Proposal, block: &Block) -> Vec<Packet> {
        let value = BlockHash(block.header.hash().0);
        let other = Proposal { value, ..proposal.clone() };
        let other = block_on(self.signing.sign_proposal(other)).expect("a signature");
        let mut packets = self.parts(proposal.height, proposal.round, block);
        packets.push(Packet::Consensus(SignedConsensusMsg::Proposal(other)));
        packets
    }

    fn spoil(&mut self, block: &mut Block) {
        match (self.dice.gen_range(0..6), last_commit(block)) {
            (3.., Some(commit)) => self.spoil_commit(block, commit),
            (0 | 3, _) => block.header.state_root = self.dice.r#gen::<[u8; 32]>().into(),
            (1 | 4, _) => block.header.extrinsics_root = self.dice.r#gen::<[u8; 32]>().into(),
            _ => block.extrinsics.extend(block.extrinsics.first().cloned()),
        }
    }

    /// Puts a forged signature into the commit of the block before, or too few, or one in everybody's place, or
    /// somebody's twice; everything else about the block is as it should be.
    fn spoil_commit(&mut self, block: &mut Block, LastCommit { round, mut signatures }: LastCommit) {
        self.done.commits += 1;
        let one = signatures.iter().flatten().next().copied();
        match self.dice.gen_range(0..4) {
            0 => {
                let place = self.dice.gen_range(0..signatures.len());
                signatures[place] = Some(Signature([7; 64]));
            }
            1 => signatures.iter_mut().skip(1).for_each(|place| *place = None),
            2 => signatures.fill(one),
            _ => signatures.push(one),
        }
        let signatures = BoundedVec::truncate_from(signatures);
        let call = RuntimeCall::Validators(Call::note_commit { round, signatures });
        block.extrinsics[0] = UncheckedExtrinsic::new_bare(call);
        block.header.extrinsics_root = extrinsics_root(block);
    }

    fn parts(&self, height: Height, round: Round, block: &Block) -> Vec<Packet> {
        let (value, bytes) = (BlockHash(block.header.hash().0), block.encode());
        let contents = Contents::of(&bytes);
        let signed = self.signing.signatures.parts(height, round, &value, &contents);
        let (proposer, signature) = (self.key(), self.signing.sign(signed.as_bytes()));
        let opening = Opening { height, round, proposer, value, contents, signature };
        let stream = BlakeTwo256::hash(&bytes).0.to_vec();
        split(stream.into(), opening, &bytes).into_iter().map(Packet::Part).collect()
    }

    /// The first to some nodes, the second to the others; in one case of three both to all.
    fn send_to_sides(&mut self, packets: [Vec<Packet>; 2]) -> Vec<Out> {
        if self.dice.gen_ratio(1, 3) {
            return packets.into_iter().flatten().map(|packet| Out::Send(None, packet)).collect();
        }
        let sides: Vec<usize> = (0..self.nodes).map(|_| self.dice.gen_range(0..2)).collect();
        let to = |(node, side): (usize, &usize)| {
            packets[*side].iter().map(move |packet| Out::Send(Some(node), packet.clone())).collect::<Vec<_>>()
        };
        sides.iter().enumerate().flat_map(to).collect()
    }

    /// Decided blocks that are not what was decided, or not proven to be.
    fn forge(
        &mut self,
        node: &Node,
        from: u64,
        mut values: Vec<RawDecidedValue<Chain>>,
    ) -> Vec<RawDecidedValue<Chain>> {
        self.done.forgeries += 1;
        if values.is_empty() {
            // Who asks was told that there is one.
            let own =
                node.rival(self.dice.gen_range(1..1_000)).filter(|own| u64::from(own.header.number) == from);
            return own.map(|own| self.certified(&own)).into_iter().collect();
        }
        let chosen = self.dice.gen_range(0..values.len());
        let value = &mut values[chosen];
        match self.dice.gen_range(0..4) {
            0 => {
                let mut bytes = value.value_bytes.to_vec();
                let place = self.dice.gen_range(0..bytes.len());
                bytes[place] ^= 1 << self.dice.gen_range(0..8);
                value.value_bytes = bytes.into();
            }
            1 => value.certificate.commit_signatures.truncate(1),
            2 => {
                let own = CommitSignature::new(self.key(), VoteSignature([7; 64]));
                let count = value.certificate.commit_signatures.len();
                let certificate = CommitCertificate { commit_signatures: vec![own; count], ..trim(value) };
                value.certificate = extended(certificate);
            }
            _ => value.certificate.round = Round::new(self.dice.gen_range(1..4)),
        }
        values
    }

    /// A block of its own with a certificate that only it has signed, in everybody's name.
    fn certified(&self, block: &Block) -> RawDecidedValue<Chain> {
        let (height, round) = (Height::from(block.header.number), Round::new(0));
        let value_id = BlockHash(block.header.hash().0);
        let vote = Vote {
            kind: VoteType::Precommit,
            height,
            round,
            value: NilOrVal::Val(value_id),
            voter: self.key(),
        };
        let signature = block_on(self.signing.sign_vote(vote)).expect("a signature").signature;
        let commit_signatures =
            self.names.iter().map(|name| CommitSignature::new(*name, signature)).collect();
        let certificate = CommitCertificate { height, round, value_id, commit_signatures };
        RawDecidedValue::new(block.encode().into(), extended(certificate))
    }

    fn key(&self) -> ValidatorKey {
        ValidatorKey(self.signing.key.verifying_key().to_bytes())
    }
}

fn trim(value: &RawDecidedValue<Chain>) -> CommitCertificate<Chain> {
    value.certificate.trim_vote_extensions()
}
