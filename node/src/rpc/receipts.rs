//! `receipt_v1_*`: what proves a finished job.

use std::sync::Arc;

use assay_manifest::JobId;
use jsonrpsee::core::RegisterMethodError;

use super::error::{Code, Group, RpcError};
use super::feed::Registry;
use super::ports::Receipts;

pub fn register<R: Receipts>(methods: &mut Registry<Arc<R>>) -> Result<(), RegisterMethodError> {
    methods.method("receipt_v1_get", |receipts, mut args| async move {
        let job: JobId = args.required("job")?;
        args.finish()?;
        let receipt = receipts.receipt(job).await.map_err(|error| Group::Receipt.error(error))?;
        receipt.ok_or_else(|| {
            RpcError::new(Code::ReceiptNotFound, format!("the ledger has no settlement of job {job}"))
        })
    })?;
    Ok(())
}
