//! What a node executes for its owner.

use assay_manifest::Digest32;
use assay_protocol::request::Request;
use jsonrpsee::rpc_params;

use super::chain::{Client, ClientError};
use super::orders::request_of;
use crate::rpc::{Ask, Code, Executed, Prepared};

impl Client {
    /// Has the node execute a request itself, if its owner asks, the model is loaded there, and it has time: nothing is
    /// brought, and nobody waits.
    ///
    /// # Errors
    /// [`ClientError`] when the model cannot do what is asked.
    pub async fn execute_here(
        &self,
        ask: Ask,
        seed: Digest32,
    ) -> Result<Option<(Request, Executed)>, ClientError> {
        let model = ask.model;
        if !self.serves(&model).await? {
            return Ok(None);
        }
        let prepared: Prepared = self.request("job_v1_prepare", rpc_params![&ask]).await?;
        // There is no job, and so no salt that could hide the request.
        let request = request_of(ask, &prepared, Some(seed), Digest32::ZERO);
        match self.request("job_v1_execute", rpc_params![model, &request]).await {
            Ok(executed) => Ok(Some((request, executed))),
            Err(ClientError::Refused { code, .. }) if is_for_others(code) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether a node says that it is not yours, has let the model go, or has no time.
fn is_for_others(code: i32) -> bool {
    [Code::UnsafeMethod, Code::ArtifactUnavailable, Code::JobBusy].iter().any(|known| known.number() == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_node_may_answer_is_bought_and_what_nobody_can_is_told() {
        for code in [Code::UnsafeMethod, Code::ArtifactUnavailable, Code::JobBusy] {
            assert!(is_for_others(code.number()), "{code:?}");
        }
        for code in [Code::JobRefused, Code::JobFailed, Code::JobNotFound] {
            assert!(!is_for_others(code.number()), "{code:?}");
        }
    }
}
