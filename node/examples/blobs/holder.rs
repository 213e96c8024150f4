//! A process that holds the file.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use assay_manifest::{ArtifactId, ArtifactKind};
use assay_node::blobs::{ServeConfig, Server};
use assay_store::Store;
use futures::StreamExt;
use libp2p::Multiaddr;
use tokio::sync::watch;

use crate::network::{BARE, Known, blobs, listen};
use crate::stream::{Sent, Stream, Trouble};
use crate::{Failed, bare};

/// What this program calls itself when it is to hold the file.
pub const HOLDER: &str = "holder";

/// Serves the one artifact of a store until its input ends, and answers each line of it with the bytes that it has sent.
pub async fn run(dir: &Path, at: &str, trouble: Trouble) -> Result<(), Failed> {
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
    let sent = Sent::new(trouble);
    let counted = Arc::clone(&sent);
    let incoming = control.accept(blobs()?)?.map(move |(peer, stream)| (peer, Stream::new(stream, &counted)));
    let network = Arc::new(Known::new(control, Vec::new()));
    let (_running, stop) = watch::channel(false);
    let server = Server::new(network, store, ServeConfig::default());
    tokio::spawn(server.run(incoming, stop));
    println!("{address}\n{artifact}");
    let telling = tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lines() {
            line?;
            println!("{}", sent.bytes());
        }
        Ok(())
    });
    telling.await?
}

/// That process, as whoever started it sees it; it ends with its owner.
pub struct Holder {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub address: Multiaddr,
    pub artifact: ArtifactId,
}

impl Holder {
    /// Imports a file into a store of its own.
    pub fn prepare(store: &Path, file: &Path) -> Result<(), Failed> {
        Store::open(store)?.import(file, ArtifactKind::Dataset, &mut |_| {})?;
        Ok(())
    }

    pub fn start(store: &Path, at: &str, trouble: Trouble) -> Result<Self, Failed> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([HOLDER.as_ref(), store.as_os_str(), at.as_ref(), trouble.to_string().as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("a holder without input")?;
        let mut output = BufReader::new(process.stdout.take().ok_or("a holder without output")?);
        let (address, artifact) = (line(&mut output)?.parse()?, line(&mut output)?.parse()?);
        Ok(Self { process, input, output, address, artifact })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it has sent of ranges and their hashes.
    pub fn sent_bytes(&mut self) -> Result<u64, Failed> {
        self.input.write_all(b"\n")?;
        Ok(line(&mut self.output)?.parse()?)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn line(from: &mut BufReader<ChildStdout>) -> Result<String, Failed> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
