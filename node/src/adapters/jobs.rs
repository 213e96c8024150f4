//! Sealed inputs and answers as JSON-RPC sees them.

use std::sync::Arc;

use assay_manifest::{JobId, ModelId};
use assay_protocol::seal::Envelope;

use super::{Journal, Models};
use crate::rpc::{self, PortError};
use crate::worker::{Mailbox, MailboxError};

/// The journal, with the models that turn tokens into text.
pub struct Orders {
    /// Where envelopes are kept.
    pub journal: Journal,
    /// What decodes tokens.
    pub models: Arc<Models>,
}

impl rpc::Jobs for Orders {
    fn deliver(&self, envelope: &Envelope) -> Result<(), PortError> {
        self.journal.put(std::slice::from_ref(envelope)).map_err(failed)
    }

    fn answers(&self, job: &JobId) -> Result<Vec<Envelope>, PortError> {
        self.journal.answers(job).map_err(failed)
    }

    fn decode(&self, model: &ModelId, tokens: &[u32]) -> Result<String, PortError> {
        self.models.decode(model, tokens)
    }
}

fn failed(error: MailboxError) -> PortError {
    PortError::Failed(error.to_string())
}
