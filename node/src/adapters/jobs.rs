//! Sealed inputs and answers as JSON-RPC sees them.

use std::sync::Arc;

use assay_manifest::{JobId, ModelId};
use assay_protocol::seal::Envelope;

use super::{Journal, Models};
use crate::network::Wish;
use crate::rpc::{self, PortError};
use crate::worker::{Mailbox, MailboxError};

/// The journal, with the models that turn tokens into text.
pub struct Orders {
    /// Where envelopes are kept.
    pub journal: Journal,
    /// What decodes tokens.
    pub models: Arc<Models>,
    /// What fetches answers of jobs that were bought through other nodes; none on a node without a network.
    pub wish: Option<Wish>,
}

impl rpc::Jobs for Orders {
    fn deliver(&self, envelope: &Envelope) -> Result<(), PortError> {
        self.journal.put(std::slice::from_ref(envelope)).map_err(failed)
    }

    fn answers(&self, job: &JobId) -> Result<Vec<Envelope>, PortError> {
        let answers = self.journal.answers(job).map_err(failed)?;
        if let (true, Some(wish)) = (answers.is_empty(), &self.wish) {
            wish.answer_of(*job);
        }
        Ok(answers)
    }

    fn decode(&self, model: &ModelId, tokens: &[u32]) -> Result<String, PortError> {
        self.models.decode(model, tokens)
    }
}

fn failed(error: MailboxError) -> PortError {
    PortError::Failed(error.to_string())
}
