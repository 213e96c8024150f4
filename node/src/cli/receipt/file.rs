//! Reading receipt files, which may come from anybody.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use assay_protocol::receipt::Receipt;
use serde::Deserialize;

use crate::cli::failure::{Exit, Failure};

/// Largest file that is read: a receipt with two draws of 256 candidates, the longest request and answer stays
/// below a quarter of it.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// How files say that they are receipts.
const FORMATS: [&str; 2] = ["assay-receipt/1", "assay-self-receipt/1"];

/// Reads a receipt.
///
/// # Errors
/// [`Failure`] when the file cannot be read, is too large, or holds something else. What says that it is a receipt
/// and has not the form of one was altered: that is a failed check and not a mistake in the file's name.
pub fn read(path: &Path) -> Result<Receipt, Failure> {
    let bytes = read_bounded(path)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let path = path.display();
        if says_receipt(&bytes) {
            return Failure::new(Exit::Verification, format!("reading {path}: form: {error}"))
                .hint("do not rely on this receipt; fetch the job's anew with `assay receipt fetch JOB`");
        }
        Failure::usage(format!("reading {path}: it is not a receipt: {error}"))
            .hint("name a file that `assay receipt fetch`, `assay job` or `assay run` wrote")
    })
}

fn says_receipt(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Head {
        format: String,
    }
    serde_json::from_slice::<Head>(bytes).is_ok_and(|head| FORMATS.contains(&head.format.as_str()))
}

/// The bytes of a file that must not be larger than a receipt can be.
///
/// # Errors
/// [`Failure`] when it cannot be read or is too large.
pub fn read_bounded(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |cause: String| {
        Failure::usage(format!("reading {}: {cause}", path.display()))
            .hint("name a file that is there, and yours to read")
    };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(format!("it has more than {FILE_BYTES_MAX} bytes, which no receipt has")));
    }
    Ok(bytes)
}
