//! Reading receipt files, which may come from anybody.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use assay_protocol::receipt::Receipt;

use crate::cli::failure::Failure;

/// Largest file that is read: a receipt with two draws of 256 candidates, the longest request and answer stays
/// below a quarter of it.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Reads a receipt.
///
/// # Errors
/// [`Failure`] when the file cannot be read, is too large, or holds something else.
pub fn read(path: &Path) -> Result<Receipt, Failure> {
    let bytes = read_bounded(path)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::usage(format!("reading {}: it is not a receipt: {error}", path.display()))
            .hint("name a file that `assay receipt fetch`, `assay job` or `assay run` wrote")
    })
}

/// The bytes of a file that must not be larger than a receipt can be.
///
/// # Errors
/// [`Failure`] when it cannot be read or is too large.
pub fn read_bounded(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |cause: String| Failure::usage(format!("reading {}: {cause}", path.display()));
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(format!("it has more than {FILE_BYTES_MAX} bytes, which no receipt has")));
    }
    Ok(bytes)
}
