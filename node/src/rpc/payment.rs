//! `payment_*`: what a transaction would cost.

use assay_runtime::{Balance, Hash};
use codec::{Decode, Encode};
use jsonrpsee::core::RegisterMethodError;
use pallet_transaction_payment::{FeeDetails, RuntimeDispatchInfo};
use serde_json::{Value, json};
use sp_core::{Bytes, U256};

use super::error::{Code, RpcError};
use super::feed::Registry;
use super::params::Args;
use super::service::Backend;

pub fn register(methods: &mut Registry<Backend>) -> Result<(), RegisterMethodError> {
    methods
        .method("payment_queryInfo", |backend, args| async move {
            let info: RuntimeDispatchInfo<Balance> =
                ask(&backend, "TransactionPaymentApi_query_info", args).await?;
            Ok(info)
        })?
        .method("payment_queryFeeDetails", |backend, args| async move {
            let details = ask(&backend, "TransactionPaymentApi_query_fee_details", args).await?;
            Ok(fee_details(&details))
        })?;
    Ok(())
}

/// The runtime decodes the transaction, on the ledger's thread and behind the limit on nesting.
async fn ask<T: Decode>(backend: &Backend, function: &'static str, mut args: Args) -> Result<T, RpcError> {
    let Bytes(extrinsic) = args.required("extrinsic")?;
    let at: Option<Hash> = args.optional("hash")?;
    args.finish()?;
    let length = u32::try_from(extrinsic.len()).map_err(RpcError::params)?;
    let arguments = [extrinsic, length.encode()].concat();
    let answer = backend.ledger.call(at, function.into(), arguments).await?;
    T::decode(&mut answer.as_slice()).map_err(|error| RpcError::new(Code::NodeFailed, error))
}

fn fee_details(details: &FeeDetails<Balance>) -> Value {
    // Hex, as Substrate nodes give what does not fit a JSON number.
    let hex = |amount: Balance| U256::from(amount);
    let inclusion = details.inclusion_fee.as_ref().map(|fee| {
        json!({
            "baseFee": hex(fee.base_fee),
            "lenFee": hex(fee.len_fee),
            "adjustedWeightFee": hex(fee.adjusted_weight_fee),
        })
    });
    json!({ "inclusionFee": inclusion })
}
