//! What must hold, whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use assay_node::consensus::bft::{BlockHash, Proposal, ValidatorKey, Vote};
use assay_node::ledger::{FinalizedBlock, LedgerError, LedgerHandle};
use assay_protocol::job::Job;
use assay_protocol::party::AccountBytes;
use assay_runtime::executor::check_commit;
use assay_runtime::{AccountId, Balance, Hash, Header, Runtime, RuntimeEvent, RuntimeHoldReason};
use codec::Decode;
use malachite_core_types::{NilOrVal, Round, VoteType};
use pallet_assay_validators::Event;
use tokio::runtime::Runtime as Tokio;

use crate::jobs::Jobs;

/// What has been seen of a run.
#[derive(Default)]
pub struct Checks {
    /// Decided blocks by height: hash and root of the state after.
    decided: BTreeMap<u32, (Hash, Hash)>,
    /// The last block of each node.
    heads: HashMap<usize, u32>,
    /// Every vote that an honest validator has sent.
    votes: HashMap<(ValidatorKey, u64, Round, bool), NilOrVal<BlockHash>>,
    /// Every block that an honest validator has proposed.
    proposals: HashMap<(ValidatorKey, u64, Round), BlockHash>,
    /// Accounts that may be convicted.
    byzantine: BTreeSet<AccountId>,
    pub convicted: u64,
    /// Changes of who decides.
    pub successions: u64,
    followed: u32,
    issuance: Option<Balance>,
    pub jobs: Jobs,
}

type Holds = Result<(), String>;

impl Checks {
    /// Nothing seen yet, of a run in which these accounts stake for Byzantine validators, and these providers are honest.
    pub fn new(byzantine: BTreeSet<AccountId>, honest: BTreeSet<AccountBytes>) -> Self {
        Self { byzantine, jobs: Jobs::new(honest), ..Self::default() }
    }

    /// The highest decided block.
    pub fn height(&self) -> u32 {
        self.decided.last_key_value().map_or(0, |(height, _)| *height)
    }

    /// The last block that a node has told of.
    pub fn head_of(&self, node: usize) -> u32 {
        self.heads.get(&node).copied().unwrap_or(0)
    }

    /// A vote that an honest validator sends.
    pub fn vote(&mut self, vote: &Vote) -> Holds {
        let key = (vote.voter, vote.height.0, vote.round, vote.kind == VoteType::Prevote);
        let before = self.votes.entry(key).or_insert_with(|| vote.value);
        if *before != vote.value {
            let (height, round) = (vote.height, vote.round);
            return Err(format!(
                "an honest validator keeps its word: {} voted for two things in {height}/{round}",
                vote.voter
            ));
        }
        Ok(())
    }

    /// A block that an honest validator proposes.
    pub fn proposal(&mut self, proposal: &Proposal) -> Holds {
        let key = (proposal.proposer, proposal.height.0, proposal.round);
        if *self.proposals.entry(key).or_insert(proposal.value) != proposal.value {
            let Proposal { height, round, proposer, .. } = proposal;
            return Err(format!(
                "an honest validator keeps its word: {proposer} proposed two blocks in {height}/{round}"
            ));
        }
        Ok(())
    }

    /// A node has started on what its disks hold.
    pub fn started(&mut self, node: usize, ledger: &LedgerHandle, tokio: &Tokio) -> Holds {
        let (head, told) = (ledger.head(), self.head_of(node));
        if head.number < told {
            return Err(format!(
                "no decided block is lost: node {node} had {told} and starts at {}",
                head.number
            ));
        }
        self.agree(node, &head)?;
        invariants(head.hash(), ledger, tokio)
    }

    /// A node has committed a block.
    pub fn committed(&mut self, node: usize, header: &Header) -> Holds {
        let head = self.heads.insert(node, header.number).unwrap_or(0);
        if header.number <= head {
            return Err(format!(
                "blocks follow one another: node {node} had {head} and commits {}",
                header.number
            ));
        }
        self.agree(node, header)
    }

    /// Every node has the same block of a height, and the same state after it.
    fn agree(&mut self, node: usize, header: &Header) -> Holds {
        let own = (header.hash(), header.state_root);
        match *self.decided.entry(header.number).or_insert(own) == own {
            true => Ok(()),
            false => Err(format!("no fork: node {node} has another block {}", header.number)),
        }
    }

    /// The highest block that was followed.
    pub const fn followed(&self) -> u32 {
        self.followed
    }

    /// Follows the blocks in their order, each once, as the first node tells that has it: the others have the same.
    pub fn follow(
        &mut self,
        block: &FinalizedBlock,
        open: &[Job],
        ledger: &LedgerHandle,
        tokio: &Tokio,
    ) -> Holds {
        self.followed = block.header.number;
        invariants(block.hash, ledger, tokio)?;
        carries_the_commit_before(block, ledger, tokio)?;
        self.convictions(block)?;
        let settled = self.jobs.follow(block, open, ledger, tokio)?;
        self.money((block, settled), ledger, tokio)
    }

    fn convictions(&mut self, block: &FinalizedBlock) -> Holds {
        for record in &block.events {
            match &record.event {
                RuntimeEvent::Validators(Event::Convicted { validator, .. }) => {
                    self.convicted += 1;
                    if !self.byzantine.contains(validator) {
                        return Err(format!("no honest validator is convicted: {validator} is"));
                    }
                }
                RuntimeEvent::Validators(Event::Chosen { .. }) => self.successions += 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// The issuance shrinks by what is burned, and never grows.
    fn money(
        &mut self,
        (block, settled): (&FinalizedBlock, Balance),
        ledger: &LedgerHandle,
        tokio: &Tokio,
    ) -> Holds {
        let key = pallet_balances::TotalIssuance::<Runtime>::hashed_key().to_vec();
        let stored = tokio.block_on(ledger.storage(None, key)).map_err(|error| error.to_string())?;
        let now = stored.and_then(|bytes| Balance::decode(&mut bytes.as_slice()).ok());
        let now = now.ok_or("the ledger knows its issuance")?;
        let burned = burned(block) + settled;
        let height = block.header.number;
        // The first block that is seen says what there is.
        let before = self.issuance.replace(now).unwrap_or(now + burned);
        if before != now + burned {
            return Err(format!(
                "no unit is lost or minted: {before} before {height}, {burned} burned, {now} after"
            ));
        }
        Ok(())
    }
}

/// Every block but the first carries the commit of the one before it, by those who decided that.
fn carries_the_commit_before(block: &FinalizedBlock, ledger: &LedgerHandle, tokio: &Tokio) -> Holds {
    let height = block.header.number;
    let read = async {
        let before = match height {
            1 => None,
            _ => Some(ledger.validators_of(height - 1).await?),
        };
        Ok::<_, LedgerError>((ledger.block(block.hash).await?, before))
    };
    let (found, before) = tokio.block_on(read).map_err(|error| format!("the ledger answers: {error}"))?;
    let found = found.ok_or_else(|| format!("no decided block is lost: {height} is"))?;
    check_commit(&found, &ledger.genesis(), before.as_ref())
        .map_err(|error| format!("a block carries the commit of the one before it: {height}: {error}"))
}

/// What the runtime says must hold after a block.
fn invariants(hash: Hash, ledger: &LedgerHandle, tokio: &Tokio) -> Holds {
    let checked: Result<Result<(), Vec<u8>>, _> =
        tokio.block_on(ledger.query(Some(hash), "LedgerApi_check_invariants", ()));
    let checked = checked.map_err(|error| format!("the ledger answers: {error}"))?;
    checked.map_err(|broken| format!("the runtime's invariants: {}", String::from_utf8_lossy(&broken)))
}

/// What the events of a block say was burned, but for settlements, of which the log does.
fn burned(block: &FinalizedBlock) -> Balance {
    let deposit = RuntimeHoldReason::Jobs(pallet_assay_jobs::HoldReason::Deposit);
    let pot = assay_runtime::AccountId::from(crate::genesis::pot());
    let mut burned = 0;
    for record in &block.events {
        burned += match &record.event {
            RuntimeEvent::TransactionPayment(pallet_transaction_payment::Event::TransactionFeePaid {
                actual_fee,
                tip,
                ..
            }) => actual_fee + tip,
            RuntimeEvent::Providers(pallet_assay_providers::Event::Forfeited { burned, .. })
            | RuntimeEvent::Validators(pallet_assay_validators::Event::Convicted { burned, .. }) => *burned,
            RuntimeEvent::Balances(pallet_balances::Event::BurnedHeld { reason, amount, .. })
                if *reason == deposit =>
            {
                *amount
            }
            RuntimeEvent::Balances(pallet_balances::Event::Burned { who, amount }) if *who == pot => *amount,
            _ => 0,
        };
    }
    burned
}
