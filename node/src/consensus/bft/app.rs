//! What the engine asks of a chain: blocks to propose, verdicts on those of others, and their commitment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use assay_manifest::Digest32;
use assay_protocol::certificate::{self, ValidatorSet, ValidatorSignature};
use assay_protocol::signature::Signature;
use assay_protocol::units;
use assay_runtime::Block;
use assay_runtime::executor::{ChainError, decode_block, extrinsics_root};
use bytes::Bytes;
use codec::Encode;
use malachite_app_channel::{AppMsg, Channels, NetworkMsg};
use malachite_core_consensus::{LocallyProposedValue, MisbehaviorEvidence, ProposedValue};
use malachite_core_types::{
    CommitCertificate, CommitSignature, HeightParams, LinearTimeouts, Round, Validator as _,
    ValidatorSet as _, Validity,
};
use malachite_engine::host::{Next, SyncedValueOutcome};
use malachite_engine::util::streaming::StreamMessage;
use malachite_sync::{PeerId, RawDecidedValue};
use rand::RngCore;
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use super::context::{BlockHash, Chain, Height, ValidatorKey, Validators, VoteSignature};
use super::engine::{Consensus, SYNC_BYTES_MAX};
use super::parts::{Assembly, Contents, Opening, Part, split};
use super::signing::{Signatures, Signing, equivocation, verify};
use super::wire::extended;
use crate::consensus::ports::{Candidate, Candidates, CandidatesError, TransactionSource};
use crate::consensus::proposer::last_timestamp_ms;
use crate::consensus::{Clock, ConsensusError, Proposer};
use crate::ledger::{LedgerError, LedgerHandle};

/// Blocks of the height after the next that wait until they can be executed: those of two rounds.
const EARLY_MAX: usize = 2;

/// Blocks of one round that are executed: an honest proposer signs one, and a second one proves that it is not.
const JUDGED_MAX: u32 = 2;

/// Rounds after the present one whose blocks are taken: who proposes in some of them could else have thousands executed
/// and kept, and others may be this far ahead.
const ROUNDS_AHEAD_MAX: u32 = 4;

/// How far ahead of this node's clock a block's time may be. Nothing on the ledger depends on it; it keeps one
/// proposer's wrong clock from becoming everyone's.
const CLOCK_AHEAD_MS_MAX: u64 = 60_000;

/// How long a round waits for each of its steps. A full block takes a good part of a second to build, send and execute.
/// Whoever comes back while no other can be missed has not heard what was proposed: it waits for that in vain once, and
/// once more where the next to propose is away. Both have to be over in five seconds, with the time for late precommits,
/// which passes in a round that came to nothing as well.
pub const TIMEOUTS: LinearTimeouts = LinearTimeouts {
    propose: Duration::from_millis(1_500),
    propose_delta: Duration::from_millis(250),
    prevote: Duration::from_millis(500),
    prevote_delta: Duration::from_millis(250),
    precommit: Duration::from_millis(250),
    precommit_delta: Duration::from_millis(250),
    rebroadcast: Duration::from_millis(500),
    max_timeout: Duration::from_secs(10),
};

/// The application of the engine: answers one message after the other, and remembers nothing that it needs which is not
/// on disk. [`Consensus::run`] has the engine ask it; the simulation asks it as the engine would.
pub struct App<S, C> {
    ledger: LedgerHandle,
    proposer: Option<Proposer<S>>,
    candidates: Arc<C>,
    block_time: Duration,
    clock: Clock,
    signatures: Signatures,
    signing: Option<Signing>,
    assembly: Assembly<PeerId>,
    /// Blocks whose parent is not decided here yet.
    early: VecDeque<(Opening, Vec<u8>)>,
    /// The height at which the engine is: the one after the head, or the head's, until its time has come.
    height: Height,
    /// The round that the engine has begun last, with its height.
    round: Option<(Height, u32)>,
    /// The validators of the height after the head.
    validators: Validators,
    /// Blocks of a round of the height after the head that were judged.
    judged: BTreeMap<(Height, Round), u32>,
}

/// A block, judged.
enum Judged {
    Valid,
    Invalid(String),
    /// What came is not the block of its hash, or not its proposer's: nothing is known of that block, which may be valid.
    Another(String),
    /// Its time is too far ahead of this node's clock: it may be valid later.
    Early,
}

impl<S: TransactionSource, C: Candidates> App<S, C> {
    /// The application of what takes part, at no height yet: [`AppMsg::ConsensusReady`] comes first.
    pub fn new(consensus: Consensus<S, C>, signatures: Signatures, signing: Option<Signing>) -> Self {
        let Consensus { config, ledger, proposer, candidates, .. } = consensus;
        Self {
            height: Height(0),
            round: None,
            validators: Validators::from(&ValidatorSet::new(Vec::new())),
            ledger,
            proposer,
            candidates: Arc::new(candidates),
            block_time: config.block_time,
            clock: config.clock,
            signatures,
            signing,
            assembly: Assembly::default(),
            early: VecDeque::new(),
            judged: BTreeMap::new(),
        }
    }

    /// Answers the engine until it ends.
    ///
    /// # Errors
    /// [`ConsensusError`] when this node can no longer keep its word.
    pub async fn run(mut self, mut channels: Channels<Chain>) -> Result<(), ConsensusError> {
        while let Some(message) = channels.consensus.recv().await {
            self.answer(message, &channels.network).await?;
        }
        Err(ConsensusError::Stopped("its engine ended".into()))
    }

    /// Answers one message; parts of blocks go to `network`, which must have room for those of one. Who asked may have
    /// gone: its channel is then closed, which is its affair.
    ///
    /// # Errors
    /// [`ConsensusError`] when this node can no longer keep its word, and must not be asked again.
    pub async fn answer(
        &mut self,
        message: AppMsg<Chain>,
        network: &mpsc::Sender<NetworkMsg<Chain>>,
    ) -> Result<(), ConsensusError> {
        match message {
            AppMsg::ConsensusReady { reply } => {
                let start = self.next_height().await?;
                let _ = reply.send(start);
            }
            AppMsg::StartedRound { height, round, proposer, reply_value, .. } => {
                self.round = round.as_u32().map(|round| (height, round));
                if round > Round::new(0) {
                    info!(%height, %round, %proposer, "another round");
                }
                let kept = self.of_round(height, round).await?;
                let _ = reply_value
                    .send(kept.iter().map(|candidate| proposed(candidate, Validity::Valid)).collect());
            }
            AppMsg::GetValue { height, round, reply, .. } => {
                if let Some(candidate) = self.propose(height, round).await? {
                    let value = BlockHash(*candidate.value.as_bytes());
                    let _ = reply.send(LocallyProposedValue::new(height, round, value));
                    self.publish(&candidate, network).await;
                }
            }
            AppMsg::RestreamProposal { height, value_id, .. } => {
                if let Some(candidate) = self.find(height, value_id).await? {
                    self.publish(&candidate, network).await;
                }
            }
            AppMsg::ReceivedProposalPart { from, published_by, part, reply } => {
                let whole = self.receive(published_by.unwrap_or(from), part);
                let value = match whole {
                    Some((opening, block)) => self.proposal(opening, block).await?,
                    None => None,
                };
                let _ = reply.send(value);
            }
            AppMsg::ProcessSyncedValue { height, round, proposer, value_bytes, reply } => {
                let outcome = self.synced(height, round, proposer, &value_bytes).await?;
                let _ = reply.send(outcome);
            }
            AppMsg::Decided { certificate, reply, .. } => {
                self.commit(certificate).await?;
                let _ = reply.send(());
            }
            AppMsg::Finalized { certificate, evidence, reply, .. } => {
                self.add_votes(&certificate).await?;
                self.report(&evidence).await;
                let (height, params) = self.next_height().await?;
                let _ = reply.send(Next::Start(height, params));
            }
            AppMsg::GetDecidedValues { range, reply } => {
                let _ = reply.send(self.decided(*range.start(), *range.end()).await?);
            }
            // Every block is kept, from the first one here on.
            AppMsg::GetHistoryMinHeight { reply } => {
                let _ = reply.send(Height::from(self.ledger.base().max(1)));
            }
            // Votes have no extensions.
            AppMsg::ExtendVote { reply, .. } => {
                let _ = reply.send(None);
            }
            AppMsg::VerifyVoteExtensions { extensions, reply, .. } => {
                let _ = reply.send(extensions.into_iter().map(|(voter, _)| (voter, Ok(()))).collect());
            }
        }
        Ok(())
    }

    /// The height after the head, with the validators that the head names for it.
    async fn next_height(&mut self) -> Result<(Height, HeightParams<Chain>), ConsensusError> {
        self.read_validators().await?;
        self.height = self.undecided();
        let params = HeightParams::new(self.validators.clone(), TIMEOUTS, Some(self.block_time));
        Ok((self.height, params))
    }

    /// The height after the head.
    fn undecided(&self) -> Height {
        Height::from(self.ledger.head().number.saturating_add(1))
    }

    async fn read_validators(&mut self) -> Result<(), ConsensusError> {
        let head = self.ledger.head().hash();
        let set: ValidatorSet = self.ledger.query(Some(head), "LedgerApi_validators", ()).await?;
        self.validators = Validators::from(&set);
        Ok(())
    }

    /// A block of this validator for a round: the same again, if it has proposed one before a crash. None for a height
    /// that is decided, and for who only follows.
    async fn propose(&self, height: Height, round: Round) -> Result<Option<Candidate>, ConsensusError> {
        let (Some(proposer), Some(signing)) = (&self.proposer, &self.signing) else { return Ok(None) };
        let own = proposer.keys().public();
        let kept = self.of_round(height, round).await?;
        if let Some(candidate) = kept.into_iter().find(|candidate| candidate.proposer == own) {
            return Ok(Some(candidate));
        }
        if height != self.undecided() {
            return Ok(None);
        }
        let block = proposer.propose_at(self.clock.now_ms()).await?;
        let value = BlockHash(block.header.hash().0);
        // Also this node's own blocks are executed as those of others before it votes for them.
        if let Some(cause) = self.refusal(block.clone()).await? {
            error!(%height, cause, "this node made a block that is invalid, and proposes none");
            return Ok(None);
        }
        let block = block.encode();
        let message = self.signatures.parts(height, round, &value, &Contents::of(&block));
        let candidate = Candidate {
            height: height.number(),
            round: round.as_u32().unwrap_or(0),
            value: value.into(),
            proposer: own,
            signature: Some(signing.sign(message.as_bytes()).0),
            block,
        };
        self.keep(candidate.clone()).await?;
        Ok(Some(candidate))
    }

    /// Sends a block to the other validators.
    async fn publish(&self, candidate: &Candidate, network: &mpsc::Sender<NetworkMsg<Chain>>) {
        let Some(signature) = candidate.signature else {
            // It came by catching up, whose senders have it.
            return debug!(height = candidate.height, "a block without its proposer's signature is not sent");
        };
        if self.validators.count() == 1 {
            return;
        }
        let opening = Opening {
            height: Height::from(candidate.height),
            round: Round::new(candidate.round),
            proposer: candidate.proposer.into(),
            value: BlockHash(*candidate.value.as_bytes()),
            contents: Contents::of(&candidate.block),
            signature: VoteSignature(signature),
        };
        let mut stream = [0; 16];
        rand::thread_rng().fill_bytes(&mut stream);
        for part in split(Bytes::copy_from_slice(&stream), opening, &candidate.block) {
            if network.send(NetworkMsg::PublishProposalPart(part)).await.is_err() {
                // The engine is ending; its end is reported where it is waited for.
                return;
            }
        }
    }

    /// Takes a part of a block; gives the block when it is whole.
    fn receive(&mut self, publisher: PeerId, part: StreamMessage<Part>) -> Option<(Opening, Vec<u8>)> {
        let (next, validators, signatures) = (self.undecided(), &self.validators, self.signatures);
        let present = self.round.filter(|(height, _)| *height == next).map_or(0, |(_, round)| round);
        let accepts = |opening: &Opening| {
            let Opening { height: of, round, proposer, value, contents, signature } = opening;
            // Of the height after the next, whose validators may be others, one that theirs refuse is refused later.
            let is_ahead = of.0 == next.0.saturating_add(1);
            let last = if is_ahead { 0 } else { present }.saturating_add(ROUNDS_AHEAD_MAX);
            (of.0 == next.0 || is_ahead)
                && round.as_u32().is_some_and(|round| round <= last)
                && validators.count() > 0
                && validators.proposer(*of, *round).address() == proposer
                && verify(proposer, signatures.parts(*of, *round, value, contents).as_bytes(), signature)
        };
        self.assembly.receive(publisher, part, accepts).unwrap_or_else(|fault| {
            debug!(%publisher, %fault, "a proposal's part is refused");
            None
        })
    }

    /// A whole block from a proposer: for the engine, if its height is being decided, and kept, if it is valid.
    async fn proposal(
        &mut self,
        opening: Opening,
        block: Vec<u8>,
    ) -> Result<Option<ProposedValue<Chain>>, ConsensusError> {
        let next = self.undecided();
        if opening.height > next {
            if self.early.len() == EARLY_MAX {
                self.early.pop_front();
            }
            self.early.push_back((opening, block));
            return Ok(None);
        }
        let current = opening.height == self.height;
        if let Some(kept) = self.find(opening.height, opening.value).await? {
            return Ok(current.then(|| proposed(&kept, Validity::Valid)));
        }
        // It may have come when the head named other validators.
        if self.validators.proposer(opening.height, opening.round).address() != &opening.proposer {
            return Ok(None);
        }
        let judged = self.judged.entry((opening.height, opening.round)).or_default();
        if opening.height < next || *judged == JUDGED_MAX {
            return Ok(None);
        }
        *judged += 1;
        let candidate = Candidate {
            height: opening.height.number(),
            round: opening.round.as_u32().unwrap_or(0),
            value: opening.value.into(),
            proposer: Digest32::from_bytes(opening.proposer.0),
            signature: Some(opening.signature.0),
            block,
        };
        let validity = match self.judge(&candidate).await? {
            Judged::Valid => {
                self.keep(candidate.clone()).await?;
                Validity::Valid
            }
            Judged::Invalid(cause) => {
                warn!(height = candidate.height, proposer = %candidate.proposer, cause, "an invalid proposal");
                Validity::Invalid
            }
            Judged::Another(cause) => {
                warn!(height = candidate.height, proposer = %candidate.proposer, cause, "a proposal of no use");
                return Ok(None);
            }
            Judged::Early => {
                debug!(height = candidate.height, proposer = %candidate.proposer, "a proposal of the future");
                self.judged.entry((opening.height, opening.round)).and_modify(|judged| *judged -= 1);
                return Ok(None);
            }
        };
        Ok(current.then(|| proposed(&candidate, validity)))
    }

    /// A decided block from a node that is ahead.
    async fn synced(
        &self,
        height: Height,
        round: Round,
        proposer: ValidatorKey,
        bytes: &[u8],
    ) -> Result<SyncedValueOutcome<Chain>, ConsensusError> {
        if height != self.undecided() {
            return Ok(SyncedValueOutcome::LocalTransientError);
        }
        let block = match self.decode(bytes.to_vec()).await {
            Ok(block) => block,
            Err(LedgerError::Chain(error)) if !error.is_fatal() => return Ok(SyncedValueOutcome::PeerFault),
            Err(error) => return Err(error.into()),
        };
        let candidate = Candidate {
            height: height.number(),
            round: round.as_u32().unwrap_or(0),
            value: Digest32::from_bytes(block.header.hash().0),
            proposer: Digest32::from_bytes(proposer.0),
            signature: None,
            block: bytes.to_vec(),
        };
        // More than two thirds have judged its time and its beacon's evaluation.
        let validity = match self.refusal(block).await? {
            None => {
                self.keep(candidate.clone()).await?;
                Validity::Valid
            }
            Some(cause) => {
                warn!(%height, cause, "a block from a node that is ahead is invalid");
                Validity::Invalid
            }
        };
        Ok(SyncedValueOutcome::Verdict(proposed(&candidate, validity)))
    }

    /// Executes a proposed block, and checks before what execution cannot know: that its time is not far in the future,
    /// and that its proposer evaluated the beacon itself (clause J17).
    async fn judge(&self, candidate: &Candidate) -> Result<Judged, ConsensusError> {
        let block = match self.decode(candidate.block.clone()).await {
            Ok(block) => block,
            Err(LedgerError::Chain(error)) if !error.is_fatal() => {
                return Ok(Judged::Another(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        if block.header.hash().0 != *candidate.value.as_bytes() {
            return Ok(Judged::Another("it has another hash than was announced".into()));
        }
        match self.check_proposer(candidate, &block).await? {
            Judged::Valid => Ok(self.refusal(block).await?.map_or(Judged::Valid, Judged::Invalid)),
            other => Ok(other),
        }
    }

    /// Executes a block; why it is invalid, if it is.
    async fn refusal(&self, block: Block) -> Result<Option<String>, ConsensusError> {
        match self.ledger.verify(block).await {
            Ok(()) => Ok(None),
            Err(LedgerError::Chain(error)) if !error.is_fatal() => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    async fn check_proposer(&self, candidate: &Candidate, block: &Block) -> Result<Judged, ConsensusError> {
        let evaluator = pallet_assay_validators::evaluator(&block.header.digest);
        let position = evaluator.and_then(|position| usize::try_from(position).ok());
        let evaluator = position.and_then(|position| self.validators.get_by_index(position));
        if evaluator.is_none_or(|evaluator| evaluator.address().0 != *candidate.proposer.as_bytes()) {
            return Ok(Judged::Another("its beacon was not evaluated by its proposer".into()));
        }
        let Some(stated) = assay_runtime::stated_time_ms(block) else {
            return Ok(Judged::Invalid("it states no time".into()));
        };
        let soonest = last_timestamp_ms(&self.ledger).await?.saturating_add(1);
        if stated > self.clock.now_ms().saturating_add(CLOCK_AHEAD_MS_MAX).max(soonest) {
            return Ok(Judged::Early);
        }
        Ok(Judged::Valid)
    }

    /// Makes a decided block the head.
    async fn commit(&mut self, certificate: CommitCertificate<Chain>) -> Result<(), ConsensusError> {
        let height = certificate.height;
        if height.number() <= self.ledger.head().number {
            // Decided before a crash, and decided again by the log of messages.
            return Ok(());
        }
        let missing = || ConsensusError::Incomplete("a decided block is not here");
        let candidate = self.find(height, certificate.value_id).await?.ok_or_else(missing)?;
        let block = self.decode(candidate.block).await?;
        let own = assay_runtime::own_extrinsics(block.header.number);
        let (hash, count) = (block.header.hash(), block.extrinsics.len().saturating_sub(own));
        let round = certificate.round;
        self.ledger.import(block, protocol_certificate(&certificate)).await?;
        info!(%height, %round, transactions = count, %hash, "finalized");
        self.read_validators().await?;
        self.assembly.decided(height);
        self.judged.clear();
        self.blocking(move |candidates| candidates.forget_until(height.number())).await?;
        for (opening, block) in std::mem::take(&mut self.early) {
            // The engine asks for it when the round starts.
            self.proposal(opening, block).await?;
        }
        Ok(())
    }

    /// Votes that came after a block was decided, until the next height's time, are carried by the next block as well:
    /// whoever is slower than two thirds is not absent.
    async fn add_votes(&self, certificate: &CommitCertificate<Chain>) -> Result<(), ConsensusError> {
        match self.ledger.add_votes(protocol_certificate(certificate)).await {
            Err(LedgerError::Chain(error)) if !error.is_fatal() => {
                // The block was decided before a crash, and its height is begun again by the log of messages.
                debug!(height = %certificate.height, %error, "later votes are not taken");
                Ok(())
            }
            added => Ok(added?),
        }
    }

    /// Says what validators did that nobody does who follows the protocol, and has the ledger told what it punishes.
    async fn report(&self, evidence: &MisbehaviorEvidence<Chain>) {
        for (validator, pairs) in evidence.votes.iter() {
            error!(%validator, votes = ?pairs, "a validator voted for two things in one round");
            // One is enough.
            if let (Some(proposer), Some((first, second))) = (&self.proposer, pairs.first()) {
                proposer.convict(equivocation(first, second)).await;
            }
        }
        for (validator, pairs) in evidence.proposals.iter() {
            error!(%validator, proposals = ?pairs, "a validator proposed two things in one round");
        }
    }

    /// Decided blocks with their certificates, as many as one answer holds.
    async fn decided(&self, from: Height, to: Height) -> Result<Vec<RawDecidedValue<Chain>>, ConsensusError> {
        let (mut found, mut size_bytes) = (Vec::new(), 0);
        for height in from.number()..=to.number().min(self.ledger.head().number) {
            let Some(hash) = self.ledger.hash_of(height).await? else { break };
            let block = self.ledger.block(hash).await?;
            let Some((block, certificate)) = block.zip(self.ledger.certificate(hash).await?) else { break };
            let block = block.encode();
            size_bytes += block.len();
            if size_bytes > SYNC_BYTES_MAX && !found.is_empty() {
                break;
            }
            found.push(RawDecidedValue::new(block.into(), extended(engine_certificate(&certificate))));
        }
        Ok(found)
    }

    /// A block from its bytes. A header does not hold for whatever transactions stand after it: with others than it names
    /// this is not the block of its hash. Decoding takes a large stack, which the ledger's threads have.
    async fn decode(&self, bytes: Vec<u8>) -> Result<Block, LedgerError> {
        let decode = move |_: &_| {
            let block = decode_block(&bytes)?;
            if extrinsics_root(&block) == block.header.extrinsics_root {
                Ok(block)
            } else {
                Err(ChainError::InvalidBlock("it has other transactions than its header names".into()))
            }
        };
        self.ledger.read(decode).await
    }

    async fn of_round(&self, height: Height, round: Round) -> Result<Vec<Candidate>, ConsensusError> {
        let round = round.as_u32().unwrap_or(0);
        self.blocking(move |candidates| candidates.of_round(height.number(), round)).await
    }

    async fn find(&self, height: Height, value: BlockHash) -> Result<Option<Candidate>, ConsensusError> {
        self.blocking(move |candidates| candidates.find(height.number(), &value.into())).await
    }

    async fn keep(&self, candidate: Candidate) -> Result<(), ConsensusError> {
        self.blocking(move |candidates| candidates.keep(&candidate)).await
    }

    /// Reads or writes candidates, which may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&C) -> Result<T, CandidatesError> + Send + 'static,
    ) -> Result<T, ConsensusError> {
        let candidates = Arc::clone(&self.candidates);
        let done = tokio::task::spawn_blocking(move || work(&candidates)).await;
        Ok(done.map_err(|error| ConsensusError::Stopped(error.to_string()))??)
    }
}

/// A candidate as the engine knows it.
fn proposed(candidate: &Candidate, validity: Validity) -> ProposedValue<Chain> {
    ProposedValue {
        height: Height::from(candidate.height),
        round: Round::new(candidate.round),
        valid_round: Round::Nil,
        proposer: candidate.proposer.into(),
        value: BlockHash(*candidate.value.as_bytes()),
        validity,
    }
}

fn protocol_certificate(certificate: &CommitCertificate<Chain>) -> certificate::CommitCertificate {
    let signature = |signed: &CommitSignature<Chain>| ValidatorSignature {
        validator: Digest32::from_bytes(signed.address.0),
        signature: Signature(signed.signature.0),
    };
    certificate::CommitCertificate {
        height: units::Height::new(certificate.height.number()),
        round: certificate.round.as_u32().unwrap_or(u32::MAX),
        value: certificate.value_id.into(),
        signatures: certificate.commit_signatures.iter().map(signature).collect(),
    }
}

fn engine_certificate(certificate: &certificate::CommitCertificate) -> CommitCertificate<Chain> {
    let signature = |signed: &ValidatorSignature| {
        CommitSignature::new(signed.validator.into(), VoteSignature(signed.signature.0))
    };
    CommitCertificate {
        height: Height::from(certificate.height.get()),
        round: Round::new(certificate.round),
        value_id: BlockHash(*certificate.value.as_bytes()),
        commit_signatures: certificate.signatures.iter().map(signature).collect(),
    }
}

#[cfg(test)]
mod tests;
