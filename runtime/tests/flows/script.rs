//! A run with registrations and a whole job, block by block, that goes on where its store is.

use assay_manifest::{ArtifactId, JobId};
use assay_protocol::job::{Phase, SeatOutcome};
use assay_protocol::params::Params;
use assay_protocol::party::Role;
use assay_protocol::signature::SeatStep;
use assay_runtime::executor::{ChainError, Kv, Retention};
use assay_runtime::{GenesisSpec, RuntimeCall, UncheckedExtrinsic};
use pallet_assay_artifacts::{Call as ArtifactsCall, Subject};
use pallet_assay_jobs::Call as JobsCall;

use crate::answers::*;
use crate::books::Books;
use crate::market::*;
use crate::support::{Network, alice, genesis};

const WORKERS: u8 = 4;
const REGISTRATIONS: u32 = 2;

/// Windows of a few blocks: every block is one write.
fn spec() -> GenesisSpec {
    let params =
        Params { verifier_draw_delay: 2, challenge_window: 6, offer_delay: 1, ..Params::DEVELOPMENT };
    GenesisSpec { params, ..genesis() }
}

/// Opens the run in a store.
pub fn open<K: Kv>(kv: K) -> Result<Market<K>, ChainError> {
    Ok(Market { net: Network::with(kv, &spec(), Retention::Window(4))? })
}

fn registration(n: u32) -> RuntimeCall {
    RuntimeCall::Artifacts(ArtifactsCall::register {
        subject: Subject::Dataset(ArtifactId::from_bytes([n as u8; 32])),
        size_bytes: 5,
        name: format!("set-{n}").into_bytes().try_into().unwrap(),
        license: Default::default(),
    })
}

impl<K: Kv> Market<K> {
    /// What the next block brings, by the state alone: whoever restarts goes on where it was.
    fn next(&self) -> Vec<UncheckedExtrinsic> {
        match self.height() {
            0 => (0..WORKERS).flat_map(|n| self.enter(n)).collect(),
            height if height <= REGISTRATIONS => vec![self.net.sign(&alice(), registration(height))],
            _ => match self.open_job() {
                Some(id) => self.duties(id),
                None if self.net.call::<u64>("JobsApi_next_nonce", requester()) == 0 => {
                    vec![
                        self.net
                            .sign(&alice(), RuntimeCall::Jobs(JobsCall::request { nonce: 0, record: two() })),
                    ]
                }
                None => vec![],
            },
        }
    }

    fn open_job(&self) -> Option<JobId> {
        self.net.call::<Vec<assay_protocol::job::Job>>("JobsApi_open_jobs", ()).first().map(|job| job.id)
    }

    fn duties(&self, id: JobId) -> Vec<UncheckedExtrinsic> {
        let job = self.job(id);
        match job.phase {
            Phase::Assigned { .. } => vec![self.step(id, 0, SeatStep::Accept)],
            Phase::Accepted { .. } => vec![self.commitment(id, 0, &right(1), claim())],
            Phase::Verifying => job
                .seats
                .iter()
                .filter(|seat| seat.role == Role::Verifier && seat.outcome == SeatOutcome::Pending)
                .map(|seat| self.commitment(id, seat.index, &right(1), claim()))
                .collect(),
            Phase::Revealing { .. } => vec![self.reveal(id, right(1))],
            _ => vec![],
        }
    }

    /// Whether the job has ended.
    pub fn is_done(&self) -> bool {
        self.open_job().is_none() && self.net.call::<u64>("JobsApi_next_nonce", requester()) == 1
    }

    /// One block of the script; the error is the store's.
    pub fn advance(&mut self) -> Result<(), ChainError> {
        let proposal = self.net.propose(self.next())?;
        assert!(proposal.rejected.is_empty());
        let executed = self.net.chain.verify(&proposal.block)?;
        self.net.commit(&proposal.block, executed)?;
        let holds: Result<(), Vec<u8>> = self.net.try_call("LedgerApi_check_invariants", ())?;
        assert_eq!(holds, Ok(()));
        Ok(())
    }

    /// Runs the script to its end; its blocks and everybody's balances.
    pub fn finish(&mut self) -> Result<(u32, Books), ChainError> {
        while self.height() == 0 || !self.is_done() {
            self.advance()?;
        }
        Ok((self.height(), self.books()))
    }
}
