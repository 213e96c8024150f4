//! Decoding what comes from outside, with a limit on nesting.
//!
//! SCALE decoding recurses with the data. A few kilobytes of nested calls would overflow the stack, and an
//! overflow cannot be caught, so no foreign bytes are decoded without the limit.

use codec::{Decode, DecodeAll, DecodeLimit};
use sp_runtime::transaction_validity::TransactionSource;

use crate::{Block, Hash, UncheckedExtrinsic};

use super::error::ChainError;

/// Levels of nesting that a transaction may have; FRAME's own limit for nested calls.
const DEPTH_MAX: u32 = frame_support::MAX_EXTRINSIC_DEPTH;
/// A block holds its transactions one list deeper.
const BLOCK_DEPTH_MAX: u32 = DEPTH_MAX + 4;

/// Decodes a transaction from outside.
///
/// # Errors
/// [`ChainError::BadExtrinsic`] for foreign, trailing or too deeply nested bytes.
pub fn decode_extrinsic(bytes: &[u8]) -> Result<UncheckedExtrinsic, ChainError> {
    UncheckedExtrinsic::decode_all_with_depth_limit(DEPTH_MAX, &mut &*bytes).map_err(bad)
}

/// Decodes a block from outside.
///
/// # Errors
/// [`ChainError::InvalidBlock`] for foreign, trailing or too deeply nested bytes.
pub fn decode_block(bytes: &[u8]) -> Result<Block, ChainError> {
    Block::decode_all_with_depth_limit(BLOCK_DEPTH_MAX, &mut &*bytes)
        .map_err(|error| ChainError::InvalidBlock(error.to_string()))
}

/// Checks the arguments of a runtime function before the runtime decodes them without a limit.
///
/// Functions that build or execute blocks are not for callers from outside.
///
/// # Errors
/// [`ChainError::UnknownFunction`] for those, [`ChainError::BadExtrinsic`] for bad arguments.
pub fn check_call(function: &str, args: &[u8]) -> Result<(), ChainError> {
    let mut input = args;
    match function {
        "TaggedTransactionQueue_validate_transaction" => {
            TransactionSource::decode(&mut input).map_err(bad)?;
            limited(&mut input)?;
            Hash::decode_all(&mut input).map(drop).map_err(bad)
        }
        "TransactionPaymentApi_query_info" | "TransactionPaymentApi_query_fee_details" => {
            limited(&mut input)?;
            u32::decode_all(&mut input).map(drop).map_err(bad)
        }
        "Core_version" => Ok(()),
        _ if function.starts_with("Core_") || function.starts_with("BlockBuilder_") => {
            Err(ChainError::UnknownFunction(function.into()))
        }
        _ => Ok(()),
    }
}

/// Refuses functions whose work grows with the ledger and not with their arguments.
///
/// # Errors
/// [`ChainError::Unbounded`] for those.
pub fn check_bounded(function: &str) -> Result<(), ChainError> {
    match function {
        "JobsApi_open_jobs" | "LedgerApi_check_invariants" => Err(ChainError::Unbounded(function.into())),
        _ => Ok(()),
    }
}

fn limited(input: &mut &[u8]) -> Result<(), ChainError> {
    UncheckedExtrinsic::decode_with_depth_limit(DEPTH_MAX, input).map(drop).map_err(bad)
}

fn bad(error: codec::Error) -> ChainError {
    ChainError::BadExtrinsic(error.to_string())
}
