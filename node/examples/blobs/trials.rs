//! What a fetch does when a holder is not sound, and when it is killed itself.

use std::path::Path;
use std::sync::Arc;

use assay_node::blobs::Fault;

use crate::Result;
use crate::fetching::{self, fetch};
use crate::holder::Holder;
use crate::network::{Known, connect};
use crate::rounds::sent_bytes;

/// Kills a fetch with SIGKILL when half of the file is there, begins anew, and says how much came twice. `usual_bytes`
/// are sent for a fetch that is left alone.
pub fn killed(holders: &mut [Holder], dir: &Path, mib: u64, usual_bytes: u64) -> Result<String> {
    let artifact = holders.first().ok_or("no holders")?.artifact;
    let addresses: Vec<_> = holders.iter().map(|holder| holder.address.clone()).collect();
    let (sink, before) = (dir.join("killed"), sent_bytes(holders)?);
    let mut first = fetching::Process::start(&sink, artifact, &addresses)?;
    let told = loop {
        let done = first.done_bytes()?.ok_or("it ended before it could be killed: take a longer file")?;
        if done >= mib << 19 {
            break done;
        }
    };
    first.kill()?;
    let mut second = fetching::Process::start(&sink, artifact, &addresses)?;
    let kept = second.done_bytes()?.ok_or("the second fetch said nothing")?;
    second.finish()?;
    let again = (sent_bytes(holders)? - before).saturating_sub(usual_bytes);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    std::fs::remove_dir_all(sink)?;
    Ok(format!(
        "killed after it had told of {:.0} MiB: begun again with {:.0} MiB, {:.1} MiB were sent twice",
        mib(told),
        mib(kept),
        mib(again),
    ))
}

/// Fetches from holders of which some are not sound, and says what was found.
pub async fn unsound(holders: &[Holder], dir: &Path, mib: u64) -> Result<String> {
    let artifact = holders.first().ok_or("no holders")?.artifact;
    let known: Known = connect(holders.iter().map(|holder| holder.address.clone()).collect()).await?;
    let (known, sink) = (Arc::new(known), dir.join("unsound"));
    let fetched = fetch(&known, &sink, artifact, || ()).await?;
    std::fs::remove_dir_all(sink)?;
    let faults = known.faults();
    let corrupt = faults.iter().filter(|fault| matches!(fault, Fault::CorruptRange { .. })).count();
    Ok(format!(
        "unsound holders: all {mib} MiB are verified after {:.1} s and in the store after {:.1} s; reported: {corrupt} of \
         corrupt ranges, {} others",
        fetched.verified.as_secs_f64(),
        fetched.whole.as_secs_f64(),
        faults.len() - corrupt,
    ))
}
