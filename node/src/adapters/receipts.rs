//! Receipts as JSON-RPC sees them.

use assay_manifest::JobId;
use assay_protocol::receipt::Receipt;

use crate::receipts::{ReceiptError, Receipts};
use crate::rpc::{self, PortError, Settlement};

impl rpc::Receipts for Receipts {
    async fn settlement(&self, job: JobId) -> Result<Option<Settlement>, PortError> {
        let settled = Self::settlement(self, &job).await.map_err(failed)?;
        Ok(settled.map(|settled| Settlement { record: settled.record, log_index: settled.log_index }))
    }

    async fn receipt(&self, job: JobId) -> Result<Option<Receipt>, PortError> {
        Self::receipt(self, &job).await.map_err(failed)
    }
}

fn failed(error: ReceiptError) -> PortError {
    PortError::Failed(error.to_string())
}
