//! The application beside the engine: the node's own [`App`], asked one message at a time, each to its end.

use std::collections::VecDeque;
use std::rc::Rc;

use assay_node::adapters::{CandidateFile, PoolSource};
use assay_node::consensus::ConsensusError;
use assay_node::consensus::bft::{App, BlockHash, Chain, Height, Part, ValidatorKey};
use malachite_app_channel::{AppMsg, NetworkMsg};
use malachite_core_consensus::{MisbehaviorEvidence, PeerId, ProposedValue, Role};
use malachite_core_types::{CommitCertificate, Round, ValueOrigin, ValueResponse, VoteExtensions};
use malachite_engine::host::{Next, SyncedValueOutcome};
use malachite_engine::util::streaming::StreamMessage;
use malachite_sync::RawDecidedValue;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::engine::Msg;
use crate::packet::Packet;
use crate::power::Power;
use crate::wal::Lost;

/// Parts that one answer may publish: more than the largest block has.
const PARTS_MAX: usize = 256;

/// Why a node does nothing more.
#[derive(Debug)]
pub enum Halt {
    /// Its power is lost: it may start again.
    PowerLost,
    /// It broke without that, which is a fault of its own.
    Broken(String),
}

impl From<Lost> for Halt {
    fn from(Lost: Lost) -> Self {
        Self::PowerLost
    }
}

/// What the engine asks the application.
pub enum Call {
    Ready,
    GetValue(Height, Round),
    Restream(Height, BlockHash),
    Part(PeerId, StreamMessage<Part>),
    /// A decided value whose certificate is right, and the proposer of its round.
    Synced(Box<ValueResponse<Chain>>, ValidatorKey),
    Decided(CommitCertificate<Chain>),
    Finalized(CommitCertificate<Chain>, MisbehaviorEvidence<Chain>),
}

/// What came of a call.
#[derive(Default)]
pub struct Answered {
    pub msgs: Vec<Msg>,
    pub publish: Vec<Packet>,
    /// Whether a decided value was refused, and if so, whether who sent it is to blame.
    pub refused: Option<Blame>,
}

/// Who is to blame for a value that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Sender,
    Nobody,
}

/// The application, and what waits for it.
pub struct Host {
    tokio: Rc<Runtime>,
    power: Power,
    app: App<PoolSource, CandidateFile>,
    published: mpsc::Receiver<NetworkMsg<Chain>>,
    publisher: mpsc::Sender<NetworkMsg<Chain>>,
    queue: VecDeque<Call>,
    /// What was published while the engine waited.
    early: Answered,
}

impl Host {
    pub fn new(tokio: Rc<Runtime>, power: Power, app: App<PoolSource, CandidateFile>) -> Self {
        let (publisher, published) = mpsc::channel(PARTS_MAX);
        let queue = VecDeque::from([Call::Ready]);
        Self { tokio, power, app, published, publisher, queue, early: Answered::default() }
    }

    /// Puts a call behind those that wait.
    pub fn ask(&mut self, call: Call) {
        self.queue.push_back(call);
    }

    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty() || !self.early.publish.is_empty() || self.early.refused.is_some()
    }

    /// Answers the next call.
    pub fn turn(&mut self) -> Result<Answered, Halt> {
        let mut answered = std::mem::take(&mut self.early);
        if let Some(call) = self.queue.pop_front() {
            let more = self.answer(call)?;
            answered.msgs.extend(more.msgs);
            answered.publish.extend(more.publish);
            answered.refused = answered.refused.or(more.refused);
        }
        Ok(answered)
    }

    /// A round has started: everything that waits is answered first. Gives what that led to, and the values of the round
    /// that are known.
    #[allow(clippy::type_complexity)]
    pub fn started_round(
        &mut self,
        height: Height,
        round: Round,
        proposer: ValidatorKey,
        role: Role,
    ) -> Result<(Vec<Msg>, Vec<ProposedValue<Chain>>), Halt> {
        let mut msgs = Vec::new();
        while let Some(call) = self.queue.pop_front() {
            let answered = self.answer(call)?;
            msgs.extend(answered.msgs);
            self.early.publish.extend(answered.publish);
            self.early.refused = self.early.refused.or(answered.refused);
        }
        let known =
            self.call(|reply_value| AppMsg::StartedRound { height, round, proposer, role, reply_value })?;
        Ok((msgs, known.unwrap_or_default()))
    }

    /// Decided blocks from a height on.
    pub fn decided(&mut self, from: u64, count: u64) -> Result<Vec<RawDecidedValue<Chain>>, Halt> {
        let range = Height(from)..=Height(from.saturating_add(count.saturating_sub(1)));
        Ok(self.call(|reply| AppMsg::GetDecidedValues { range, reply })?.unwrap_or_default())
    }

    fn answer(&mut self, call: Call) -> Result<Answered, Halt> {
        let mut answered = Answered::default();
        match call {
            Call::Ready => {
                let start = self.call(|reply| AppMsg::ConsensusReady { reply })?;
                answered.msgs.extend(start.map(|(height, params)| Msg::Start(height, params)));
            }
            Call::GetValue(height, round) => {
                let timeout = std::time::Duration::MAX;
                let value = self.call(|reply| AppMsg::GetValue { height, round, timeout, reply })?;
                answered.msgs.extend(value.map(Msg::Propose));
            }
            Call::Restream(height, value_id) => {
                let (round, valid_round, address) = (Round::Nil, Round::Nil, ValidatorKey([0; 32]));
                let message = AppMsg::RestreamProposal { height, round, valid_round, address, value_id };
                self.tell(message)?;
            }
            Call::Part(from, part) => {
                let message = |reply| AppMsg::ReceivedProposalPart { from, published_by: None, part, reply };
                let value = self.call(message)?.flatten();
                answered.msgs.extend(value.map(|value| Msg::Proposed(value, ValueOrigin::Consensus)));
            }
            Call::Synced(response, proposer) => self.synced(*response, proposer, &mut answered)?,
            Call::Decided(certificate) => {
                let extensions = VoteExtensions::default();
                self.call(|reply| AppMsg::Decided { certificate, extensions, reply })?;
            }
            Call::Finalized(certificate, evidence) => {
                let extensions = VoteExtensions::default();
                let message = |reply| AppMsg::Finalized { certificate, extensions, evidence, reply };
                if let Some(Next::Start(height, params) | Next::Restart(height, params)) =
                    self.call(message)?
                {
                    answered.msgs.push(Msg::Start(height, params));
                }
            }
        }
        while let Ok(NetworkMsg::PublishProposalPart(part)) = self.published.try_recv() {
            answered.publish.push(Packet::Part(part));
        }
        Ok(answered)
    }

    /// What the application says of a decided value goes on to the engine if the value is the certificate's.
    fn synced(
        &mut self,
        response: ValueResponse<Chain>,
        proposer: ValidatorKey,
        answered: &mut Answered,
    ) -> Result<(), Halt> {
        let certificate = response.certificate;
        let (height, round, value_bytes) = (certificate.height, certificate.round, response.value_bytes);
        let message = |reply| AppMsg::ProcessSyncedValue { height, round, proposer, value_bytes, reply };
        match self.call(message)? {
            Some(SyncedValueOutcome::Verdict(value)) if value.value == certificate.value_id => {
                let value = ProposedValue { round, ..value };
                answered.msgs.push(Msg::Proposed(value, ValueOrigin::Sync));
            }
            Some(SyncedValueOutcome::Verdict(_) | SyncedValueOutcome::PeerFault) => {
                answered.refused = Some(Blame::Sender);
            }
            Some(SyncedValueOutcome::LocalTransientError) | None => answered.refused = Some(Blame::Nobody),
        }
        Ok(())
    }

    fn call<T>(
        &mut self,
        message: impl FnOnce(oneshot::Sender<T>) -> AppMsg<Chain>,
    ) -> Result<Option<T>, Halt> {
        let (reply, mut answer) = oneshot::channel();
        self.tell(message(reply))?;
        Ok(answer.try_recv().ok())
    }

    fn tell(&mut self, message: AppMsg<Chain>) -> Result<(), Halt> {
        let told = self.tokio.block_on(self.app.answer(message, &self.publisher));
        told.map_err(|error: ConsensusError| match self.power.is_lost() {
            true => Halt::PowerLost,
            false => Halt::Broken(format!("the application fails: {error}")),
        })
    }
}
