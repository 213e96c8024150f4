//! The consensus engine of one node: Malachite's core, and around it what Malachite's own actor does with each effect.
//!
//! The actor is not used: it runs on real threads and timers. What it does is repeated here step by step, in its order:
//! an entry is appended to the log before it counts, the log is flushed before a message leaves, the log of a height is
//! replayed when the height starts, and what the application answers comes back as a message of its own.

use std::collections::VecDeque;
use std::time::Duration;

use assay_node::consensus::bft::{Chain, Height, Signing, ValidatorKey};
use futures::executor::block_on;
use malachite_app::metrics::Metrics;
use malachite_config::ConsensusConfig;
use malachite_core_consensus::r#gen::{CoResult, Gen};
use malachite_core_consensus::{
    ConsensusMsg, Effect, Error, Input, LivenessMsg, LocallyProposedValue, Params, ProposedValue, Resumable,
    Resume, SignedConsensusMsg, State, ValuePayload, handle,
};
use malachite_core_types::{
    HeightParams, LinearTimeouts, Timeout, TimeoutKind, ValidatorSet, ValueOrigin, ValueResponse,
};
use malachite_signing::{Signer, Verifier, VerifierExt};

use crate::host::{Call, Halt, Host};
use crate::memo::Memo;
use crate::packet::Packet;
use crate::wal::Wal;

/// Messages that wait until the first height has started, as many as the actor keeps.
const BUFFER_MAX: usize = 1_024;

/// The core measures from a height's start in real time when its successor is due; it is told a time that never comes, and
/// the successor is due in virtual time.
const NEVER: Duration = Duration::from_secs(1 << 32);

/// A message for the engine.
pub enum Msg {
    Start(Height, HeightParams<Chain>),
    Consensus(SignedConsensusMsg<Chain>),
    Liveness(LivenessMsg<Chain>),
    Timeout(Timeout, u64),
    Propose(LocallyProposedValue<Chain>),
    Proposed(ProposedValue<Chain>, ValueOrigin),
    /// A decided value, from a node that is ahead.
    Synced(ValueResponse<Chain>),
}

/// What the engine wants of the node around it.
pub enum Act {
    Publish(Packet),
    /// A timeout is due after so many milliseconds; the number tells it from one that was set before.
    Timer(Timeout, u64, u64),
    /// A height has started.
    Started,
    /// The certificate of a decided value is wrong.
    Rejected(Height),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Unstarted,
    Running,
    Recovering,
}

/// The engine.
pub struct Engine {
    core: Option<State<Chain>>,
    params: Params<Chain>,
    metrics: Metrics,
    shell: Shell,
}

/// Everything of the engine but the core, which is borrowed while its effects are carried out.
struct Shell {
    verifier: Memo,
    signing: Option<Signing>,
    wal: Wal,
    timeouts: LinearTimeouts,
    timers: Vec<(Timeout, u64)>,
    timers_so_far: u64,
    phase: Phase,
    is_validator: bool,
    block_ms: u64,
    now_ms: u64,
    height_started_ms: u64,
    /// Messages to itself.
    inbox: VecDeque<Msg>,
    buffer: VecDeque<Msg>,
    acts: Vec<Act>,
}

impl Engine {
    pub fn new(key: ValidatorKey, signing: Option<Signing>, verifier: Memo, wal: Wal) -> Self {
        let params = Params {
            address: key,
            threshold_params: Default::default(),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: signing.is_some(),
        };
        let shell = Shell {
            verifier,
            signing,
            wal,
            timeouts: LinearTimeouts::default(),
            timers: Vec::new(),
            timers_so_far: 0,
            phase: Phase::Unstarted,
            is_validator: false,
            block_ms: 0,
            now_ms: 0,
            height_started_ms: 0,
            inbox: VecDeque::new(),
            buffer: VecDeque::new(),
            acts: Vec::new(),
        };
        Self { core: None, params, metrics: Metrics::new(), shell }
    }

    /// The height that is being decided.
    pub fn height(&self) -> Option<u64> {
        self.core.as_ref().map(|core| core.height().0)
    }

    /// Takes a message and everything that follows from it.
    pub fn take(&mut self, now_ms: u64, host: &mut Host, msg: Msg) -> Result<Vec<Act>, Halt> {
        self.shell.now_ms = now_ms;
        self.shell.inbox.push_back(msg);
        while let Some(msg) = self.shell.inbox.pop_front() {
            if self.shell.phase == Phase::Unstarted && !matches!(msg, Msg::Start(..)) {
                if self.shell.buffer.len() < BUFFER_MAX {
                    self.shell.buffer.push_back(msg);
                }
                continue;
            }
            self.step(host, msg)?;
        }
        Ok(std::mem::take(&mut self.shell.acts))
    }

    /// The log of messages, when the engine is gone.
    pub fn into_wal(self) -> Wal {
        self.shell.wal
    }

    fn step(&mut self, host: &mut Host, msg: Msg) -> Result<(), Halt> {
        let input = match msg {
            Msg::Start(height, params) => return self.start(host, height, params),
            Msg::Consensus(SignedConsensusMsg::Vote(vote)) | Msg::Liveness(LivenessMsg::Vote(vote)) => {
                Input::Vote(vote)
            }
            Msg::Consensus(SignedConsensusMsg::Proposal(proposal)) => Input::Proposal(proposal),
            Msg::Liveness(LivenessMsg::PolkaCertificate(polka)) => Input::PolkaCertificate(polka),
            Msg::Liveness(LivenessMsg::SkipRoundCertificate(skip)) => Input::RoundCertificate(skip),
            Msg::Timeout(timeout, number) => {
                let set = self.shell.timers.iter().position(|timer| *timer == (timeout, number));
                let Some(place) = set else { return Ok(()) };
                self.shell.timers.remove(place);
                Input::TimeoutElapsed(timeout)
            }
            Msg::Propose(value) => Input::Propose(value),
            Msg::Proposed(value, origin) => Input::ProposedValue(value, origin),
            Msg::Synced(response) => Input::SyncValueResponse(response),
        };
        self.process(host, input)
    }

    fn start(&mut self, host: &mut Host, height: Height, params: HeightParams<Chain>) -> Result<(), Halt> {
        let set = params.validator_set;
        if self.core.is_none() {
            let config = ConsensusConfig::default();
            let (capacity, per_height) = (config.queue_capacity, config.queue_per_height_capacity);
            let own = self.params.clone();
            self.core = Some(State::new(Chain, height, set.clone(), own, capacity, per_height));
        }
        self.shell.is_validator = self.params.enabled && set.get_by_address(&self.params.address).is_some();
        let entries = if self.shell.is_validator {
            self.shell.wal.start(height)?
        } else {
            self.shell.wal.reset(height)?;
            Vec::new()
        };
        self.shell.timeouts = params.timeouts;
        self.shell.block_ms = params.target_time.map_or(0, |time| time.as_millis() as u64);
        self.shell.height_started_ms = self.shell.now_ms;
        let policy = params.vote_extension_policy;
        self.process(host, Input::StartHeight(height, set, false, Some(NEVER), policy))?;
        if !entries.is_empty() {
            self.replay(host, entries)?;
        }
        self.shell.phase = Phase::Running;
        self.shell.acts.push(Act::Started);
        self.shell.inbox.append(&mut self.shell.buffer);
        Ok(())
    }

    fn replay(&mut self, host: &mut Host, entries: Vec<Input<Chain>>) -> Result<(), Halt> {
        self.shell.phase = Phase::Recovering;
        let core = self.core.as_mut().expect("a height was started");
        core.record_recovered_own_precommit_extensions(entries.iter());
        core.index_wal_entries(entries.iter());
        for entry in entries {
            self.process(host, entry)?;
        }
        self.core.as_mut().expect("a height was started").reset_entries_index();
        Ok(())
    }

    /// Runs the core on an input, and carries out its effects as they come.
    fn process(&mut self, host: &mut Host, input: Input<Chain>) -> Result<(), Halt> {
        let Self { core, metrics, shell, .. } = self;
        let core = core.as_mut().expect("a height was started");
        let mut run = Gen::new(|co| handle(co, core, metrics, input));
        let mut resume = Resume::Start;
        loop {
            match run.resume_with(resume) {
                CoResult::Yielded(effect) => resume = shell.carry_out(host, effect)?,
                CoResult::Complete(result) => {
                    return result.map_err(|error| Halt::Broken(format!("the engine fails: {error}")));
                }
            }
        }
    }
}

impl Shell {
    fn carry_out(&mut self, host: &mut Host, effect: Effect<Chain>) -> Result<Resume<Chain>, Halt> {
        let go_on = Ok(Resume::Continue);
        match effect {
            Effect::CancelAllTimeouts(_) => self.timers.clear(),
            Effect::CancelTimeout(timeout, _) => self.timers.retain(|(set, _)| *set != timeout),
            Effect::ScheduleTimeout(timeout, _) => self.schedule(timeout),
            Effect::StartRound(height, round, proposer, role, _) => {
                self.flush()?;
                // The actor waits for this answer, and so for everything that it has asked before.
                let (acts, values) = host.started_round(height, round, proposer, role)?;
                self.inbox.extend(acts);
                let values = values.into_iter().map(|value| Msg::Proposed(value, ValueOrigin::Consensus));
                self.inbox.extend(values);
            }
            Effect::GetValue(height, round, _, _) => host.ask(Call::GetValue(height, round)),
            Effect::RestreamProposal(height, _, _, _, value, _) => host.ask(Call::Restream(height, value)),
            Effect::Decide(certificate, _, _) => {
                self.flush()?;
                host.ask(Call::Decided(certificate));
            }
            Effect::Finalize(certificate, _, evidence, _) => host.ask(Call::Finalized(certificate, evidence)),
            Effect::CertVerifiedSyncValue(response, proposer, _) => {
                host.ask(Call::Synced(Box::new(response), proposer));
            }
            Effect::CertRejectedSyncValue(_, height, error, _) => {
                if let Error::InvalidCommitCertificate(..) = error {
                    self.acts.push(Act::Rejected(height));
                }
            }
            Effect::PublishConsensusMsg(msg, _) => {
                self.flush()?;
                self.acts.push(Act::Publish(Packet::Consensus(msg)));
            }
            Effect::PublishLivenessMsg(msg, _) => self.acts.push(Act::Publish(Packet::Liveness(msg))),
            Effect::RepublishVote(vote, _) => {
                self.acts.push(Act::Publish(Packet::Liveness(LivenessMsg::Vote(vote))));
            }
            Effect::RepublishRoundCertificate(skip, _) => {
                self.acts.push(Act::Publish(Packet::Liveness(LivenessMsg::SkipRoundCertificate(skip))));
            }
            Effect::WalAppend(height, entry, _) => {
                if self.phase != Phase::Recovering && self.is_validator {
                    self.wal.append(height, entry)?;
                }
            }
            other => return self.sign_or_verify(other),
        }
        go_on
    }

    fn sign_or_verify(&self, effect: Effect<Chain>) -> Result<Resume<Chain>, Halt> {
        let broken = |cause: &dyn std::fmt::Display| Halt::Broken(format!("the engine cannot sign: {cause}"));
        let signing = || self.signing.as_ref().ok_or_else(|| broken(&"it has no key"));
        let verifier = &self.verifier;
        Ok(match effect {
            Effect::SignVote(vote, r) => {
                r.resume_with(block_on(signing()?.sign_vote(vote)).map_err(|error| broken(&error))?)
            }
            Effect::SignProposal(proposal, r) => {
                r.resume_with(block_on(signing()?.sign_proposal(proposal)).map_err(|error| broken(&error))?)
            }
            Effect::VerifySignature(msg, key, r) => {
                let verified = match &msg.message {
                    ConsensusMsg::Vote(vote) => {
                        block_on(verifier.verify_signed_vote(vote, &msg.signature, &key))
                    }
                    ConsensusMsg::Proposal(proposal) => {
                        block_on(verifier.verify_signed_proposal(proposal, &msg.signature, &key))
                    }
                };
                r.resume_with(verified.is_ok_and(|result| result.is_valid()))
            }
            Effect::VerifyCommitCertificate(certificate, set, thresholds, r) => r.resume_with(block_on(
                verifier.verify_commit_certificate(&Chain, &certificate, &set, thresholds),
            )),
            Effect::VerifyExtendedCommitCertificate(certificate, set, thresholds, policy, r) => r
                .resume_with(block_on(verifier.verify_extended_commit_certificate(
                    &Chain,
                    &certificate,
                    &set,
                    thresholds,
                    policy,
                ))),
            Effect::VerifyPolkaCertificate(certificate, set, thresholds, r) => r.resume_with(block_on(
                verifier.verify_polka_certificate(&Chain, &certificate, &set, thresholds),
            )),
            Effect::VerifyRoundCertificate(certificate, set, thresholds, r) => r.resume_with(block_on(
                verifier.verify_round_certificate(&Chain, &certificate, &set, thresholds),
            )),
            // Votes have no extensions.
            Effect::ExtendVote(_, _, _, _, r) => r.resume_with(None),
            other => return Err(Halt::Broken(format!("an effect that nobody expects: {other:?}"))),
        })
    }

    fn schedule(&mut self, timeout: Timeout) {
        let after_ms = match timeout.kind {
            TimeoutKind::FinalizeHeight(_) => {
                (self.height_started_ms + self.block_ms).saturating_sub(self.now_ms)
            }
            _ => self.timeouts.duration_for(timeout).as_millis() as u64,
        };
        self.timers.retain(|(set, _)| *set != timeout);
        self.timers_so_far += 1;
        self.timers.push((timeout, self.timers_so_far));
        self.acts.push(Act::Timer(timeout, self.timers_so_far, after_ms));
    }

    fn flush(&mut self) -> Result<(), Halt> {
        if self.phase != Phase::Recovering && self.is_validator {
            self.wal.flush()?;
        }
        Ok(())
    }
}
