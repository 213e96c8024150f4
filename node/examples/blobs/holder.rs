//! A process that holds the file.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use assay_node::blobs::{ServeConfig, Server, Uploads};
use assay_store::Store;
use tokio::sync::watch;

use crate::Failed;
use crate::bare;
use crate::network::{BARE, Known, blobs, listen};

/// Serves the one artifact of a store until its input ends.
pub async fn run(dir: &Path, at: &str) -> Result<(), Failed> {
    let store = Arc::new(Store::open(dir)?);
    let artifact = store.list()?.first().copied().ok_or("nothing to hold")?;
    let blob = store.get(&artifact)?.files()[0].blake3;
    // A node has made the hashes by the time when it tells others of an artifact.
    drop(store.reader(&blob)?);
    let (address, mut control) = listen(at).await?;
    let name = blob.to_string();
    let name = name.trim_start_matches("0x");
    let file = dir.join("blobs").join(&name[..2]).join(name);
    tokio::spawn(bare::serve(control.accept(BARE)?, file));
    let incoming = control.accept(blobs()?)?;
    let network = Arc::new(Known { control, holders: Vec::new() });
    let (_running, stop) = watch::channel(false);
    let server = Server::new(network, store, ServeConfig::default(), Uploads::default());
    tokio::spawn(server.run(incoming, stop));
    println!("{address}\n{artifact}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
