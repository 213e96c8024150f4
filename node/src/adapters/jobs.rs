//! Inputs and answers as JSON-RPC sees them.

use std::sync::Arc;

use assay_manifest::JobId;

use super::{Journal, Models};
use crate::rpc::{self, JobOutput, PortError};
use crate::worker::{Delivery, DeliveryError, Envelope, Handed};

/// The journal, with the models that turn its tokens into text.
pub struct Orders {
    /// Where inputs and answers are kept.
    pub journal: Journal,
    /// What decodes them.
    pub models: Arc<Models>,
}

impl rpc::Jobs for Orders {
    fn deliver(&self, job: &JobId, envelope: &Envelope) -> Result<(), PortError> {
        const WHAT: &str = "delivering an input";
        match self.journal.put_input(job, envelope).map_err(failed)? {
            Handed::Kept => Ok(()),
            Handed::OtherKept => Err(PortError::Refused(format!("{WHAT}: {job} has another one"))),
            Handed::Full => Err(PortError::Full(format!("{WHAT}: as many wait already as may"))),
        }
    }

    fn input(&self, job: &JobId) -> Result<Option<Envelope>, PortError> {
        self.journal.input(job).map_err(failed)
    }

    fn output(&self, job: &JobId) -> Result<Option<JobOutput>, PortError> {
        let Some(finished) = self.journal.finished(job).map_err(failed)? else { return Ok(None) };
        let unloaded =
            || PortError::Failed(format!("reading an answer: {} is not loaded", finished.model_id));
        let model = self.models.get(&finished.model_id).ok_or_else(unloaded)?;
        Ok(Some(JobOutput {
            text: model.text().decode(&finished.answer.tokens),
            tokens: finished.answer.tokens,
            finish: finished.answer.finish,
            trace_root: finished.trace_root,
            right_token: 0,
        }))
    }
}

fn failed(error: DeliveryError) -> PortError {
    PortError::Failed(error.to_string())
}
