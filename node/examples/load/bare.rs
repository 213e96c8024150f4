//! The engine alone: Malachite as a node starts it, with the node's timeouts, codecs and streams of parts, and behind it
//! an application that has no ledger. Its blocks are random bytes, which it keeps in memory and believes; the engine's own
//! log of messages is on disk, as always.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_manifest::Digest32;
use assay_node::consensus::bft::{
    Assembly, BlockHash, Chain, Contents, Height, Opening, Part, Signatures, Signing, TIMEOUTS, ValidatorKey,
    Validators, extended, split, start,
};
use assay_node::consensus::{Clock, Config, Network};
use assay_protocol::certificate::{Validator, ValidatorSet};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use malachite_app_channel::{AppMsg, Channels, NetworkMsg};
use malachite_core_consensus::{LocallyProposedValue, ProposedValue};
use malachite_core_types::{CommitCertificate, HeightParams, Round, Validator as _, Validity};
use malachite_engine::host::{Next, SyncedValueOutcome};
use malachite_engine::util::streaming::StreamMessage;
use malachite_sync::{PeerId, RawDecidedValue};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::{BLOCK_TIME, Result};

/// Decided blocks that are kept for who comes late: all of the first minute.
const KEPT_MAX: usize = 64;

/// One of the engines.
#[derive(Serialize, Deserialize)]
pub struct Bare {
    /// Where all of them listen.
    pub ports: Vec<u16>,
    /// Which of them this is.
    pub number: usize,
    /// Bytes of every block.
    pub block_bytes: usize,
}

/// A block that was decided.
#[derive(Serialize, Deserialize)]
pub struct Decided {
    pub height: u64,
    pub round: i64,
    /// From when its proposer was asked for it.
    pub took_ms: u64,
}

/// A block that was proposed.
#[derive(Clone)]
struct Block {
    opening: Opening,
    bytes: Vec<u8>,
}

struct App {
    signing: Signing,
    validators: Validators,
    block_bytes: usize,
    height: Height,
    assembly: Assembly<PeerId>,
    proposed: Vec<Block>,
    decided: BTreeMap<Height, (Vec<u8>, CommitCertificate<Chain>)>,
}

impl Bare {
    /// Takes part until its input ends, and writes a line for every block.
    pub async fn run(self, dir: &Path) -> Result<()> {
        let signatures = Signatures { genesis: Digest32::from_bytes([7; 32]) };
        let signing = Signing { signatures, key: key(self.number) };
        let address = |port: &u16| format!("/ip4/127.0.0.1/tcp/{port}");
        let others = self.ports.iter().enumerate().filter(|(number, _)| *number != self.number);
        let config = Config {
            block_time: BLOCK_TIME,
            clock: Clock::system(),
            network: Network {
                listen: address(&self.ports[self.number]),
                peers: others.map(|(_, port)| address(port)).collect(),
                discovery: false,
                key: Zeroizing::new(*blake3::hash(&[u8::try_from(self.number)?]).as_bytes()),
            },
            write_ahead_log: dir.join(format!("bare-{}.wal", self.number)),
        };
        let (channels, engine) = start(&config, signatures, Some(signing.clone())).await?;
        let validators = (0..self.ports.len()).map(|number| Validator { key: public(number), power: 1 });
        let app = App {
            signing,
            validators: Validators::from(&ValidatorSet::new(validators.collect())),
            block_bytes: self.block_bytes,
            height: Height(1),
            assembly: Assembly::default(),
            proposed: Vec::new(),
            decided: BTreeMap::new(),
        };
        let mut input = Vec::new();
        let mut stdin = tokio::io::stdin();
        tokio::select! {
            ended = app.run(channels) => ended,
            ended = engine.handle => Ok(ended?),
            ended = stdin.read_to_end(&mut input) => ended.map(|_| ()).map_err(Into::into),
        }
    }
}

fn key(number: usize) -> SigningKey {
    SigningKey::from_bytes(blake3::hash(format!("bare validator {number}").as_bytes()).as_bytes())
}

fn public(number: usize) -> Digest32 {
    Digest32::from_bytes(key(number).verifying_key().to_bytes())
}

impl App {
    async fn run(mut self, mut channels: Channels<Chain>) -> Result<()> {
        while let Some(message) = channels.consensus.recv().await {
            self.answer(message, &channels.network).await?;
        }
        Err("the engine ended".into())
    }

    /// Who asked may have gone, as its closed channel says.
    async fn answer(
        &mut self,
        message: AppMsg<Chain>,
        network: &mpsc::Sender<NetworkMsg<Chain>>,
    ) -> Result<()> {
        match message {
            AppMsg::ConsensusReady { reply } => {
                let _ = reply.send((self.height, self.params()));
            }
            AppMsg::StartedRound { height, round, reply_value, .. } => {
                let of_round =
                    |block: &&Block| (block.opening.height, block.opening.round) == (height, round);
                let _ =
                    reply_value.send(self.proposed.iter().filter(of_round).map(Block::proposed).collect());
            }
            AppMsg::GetValue { height, round, reply, .. } => {
                let block = self.propose(height, round)?;
                let _ = reply.send(LocallyProposedValue::new(height, round, block.opening.value));
                publish(&block, network).await;
            }
            AppMsg::RestreamProposal { value_id, .. } => {
                if let Some(block) = self.find(value_id) {
                    publish(block, network).await;
                }
            }
            AppMsg::ReceivedProposalPart { from, published_by, part, reply } => {
                let _ = reply.send(self.receive(published_by.unwrap_or(from), part)?);
            }
            AppMsg::ProcessSyncedValue { height, round, proposer, value_bytes, reply } => {
                let block = self.block(height, round, proposer, value_bytes.to_vec());
                let _ = reply.send(SyncedValueOutcome::Verdict(block.proposed()));
                self.proposed.push(block);
            }
            AppMsg::Decided { certificate, reply, .. } => {
                self.decide(certificate)?;
                let _ = reply.send(());
            }
            AppMsg::Finalized { certificate, reply, .. } => {
                // The engine stays at a height until its time has come.
                self.height = Height(certificate.height.0 + 1);
                let _ = reply.send(Next::Start(self.height, self.params()));
            }
            AppMsg::GetDecidedValues { range, reply } => {
                let found = self.decided.range(range);
                let value = |(bytes, certificate): &(Vec<u8>, CommitCertificate<Chain>)| {
                    RawDecidedValue::new(bytes.clone().into(), extended(certificate.clone()))
                };
                let _ = reply.send(found.map(|(_, decided)| value(decided)).collect());
            }
            AppMsg::GetHistoryMinHeight { reply } => {
                let _ = reply.send(self.decided.keys().next().copied().unwrap_or(self.height));
            }
            AppMsg::ExtendVote { reply, .. } => {
                let _ = reply.send(None);
            }
            AppMsg::VerifyVoteExtensions { extensions, reply, .. } => {
                let _ = reply.send(extensions.into_iter().map(|(voter, _)| (voter, Ok(()))).collect());
            }
        }
        Ok(())
    }

    fn params(&self) -> HeightParams<Chain> {
        HeightParams::new(self.validators.clone(), TIMEOUTS, Some(BLOCK_TIME))
    }

    /// The time, and random bytes behind it.
    fn propose(&mut self, height: Height, round: Round) -> Result<Block> {
        let mut bytes = vec![0; self.block_bytes.max(size_of::<u64>())];
        rand::thread_rng().fill_bytes(&mut bytes);
        bytes[..size_of::<u64>()].copy_from_slice(&now_ms()?.to_le_bytes());
        let own = ValidatorKey(self.signing.key.verifying_key().to_bytes());
        let block = self.block(height, round, own, bytes);
        self.proposed.push(block.clone());
        Ok(block)
    }

    /// Only what this node proposes itself is sent with a signature of its own.
    fn block(&self, height: Height, round: Round, proposer: ValidatorKey, bytes: Vec<u8>) -> Block {
        let (value, contents) = (BlockHash(*blake3::hash(&bytes).as_bytes()), Contents::of(&bytes));
        let message = self.signing.signatures.parts(height, round, &value, &contents);
        let signature = self.signing.sign(message.as_bytes());
        Block { opening: Opening { height, round, proposer, value, contents, signature }, bytes }
    }

    /// Takes a part; tells of the block of this height that is whole by it. All are honest here.
    fn receive(
        &mut self,
        publisher: PeerId,
        part: StreamMessage<Part>,
    ) -> Result<Option<ProposedValue<Chain>>> {
        let validators = &self.validators;
        let accepts = |opening: &Opening| {
            validators.proposer(opening.height, opening.round).address() == &opening.proposer
        };
        let Some((opening, bytes)) = self.assembly.receive(publisher, part, accepts)? else {
            return Ok(None);
        };
        let block = Block { opening, bytes };
        let is_current = block.opening.height == self.height;
        let proposed = is_current.then(|| block.proposed());
        self.proposed.push(block);
        Ok(proposed)
    }

    fn find(&self, value: BlockHash) -> Option<&Block> {
        self.proposed.iter().find(|block| block.opening.value == value)
    }

    fn decide(&mut self, certificate: CommitCertificate<Chain>) -> Result<()> {
        let height = certificate.height;
        let bytes = self.find(certificate.value_id).ok_or("a decided block is not here")?.bytes.clone();
        let stated = bytes.first_chunk().map(|stated| u64::from_le_bytes(*stated)).unwrap_or_default();
        let took_ms = now_ms()?.saturating_sub(stated);
        let decided = Decided { height: height.0, round: certificate.round.as_i64(), took_ms };
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &decided)?;
        out.write_all(b"\n")?;
        out.flush()?;
        self.proposed.retain(|block| block.opening.height > height);
        self.assembly.decided(height);
        self.decided.insert(height, (bytes, certificate));
        if self.decided.len() > KEPT_MAX {
            self.decided.pop_first();
        }
        Ok(())
    }
}

impl Block {
    fn proposed(&self) -> ProposedValue<Chain> {
        let Opening { height, round, proposer, value, .. } = self.opening;
        ProposedValue { height, round, valid_round: Round::Nil, proposer, value, validity: Validity::Valid }
    }
}

async fn publish(block: &Block, network: &mpsc::Sender<NetworkMsg<Chain>>) {
    let mut stream = [0; 16];
    rand::thread_rng().fill_bytes(&mut stream);
    for part in split(Bytes::copy_from_slice(&stream), block.opening.clone(), &block.bytes) {
        if network.send(NetworkMsg::PublishProposalPart(part)).await.is_err() {
            // The engine is ending.
            return;
        }
    }
}

fn now_ms() -> Result<u64> {
    let now: Duration = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(now.as_millis())?)
}
