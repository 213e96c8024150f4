//! Disks that fill up, cannot be written, or hold something else than a node left there.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use assay_node::client::{Client, Heights};
use jsonrpsee::rpc_params;
use serde_json::Value;

use crate::process::{NodeProcess, Setup, json, told};

/// A small file system of its own, in namespaces that need no privileges.
struct SmallDisk {
    keeper: Child,
    mount: PathBuf,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    fn new(size_mib: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mount = dir.path().to_owned();
        let script = format!(
            "mount -t tmpfs -o size={size_mib}m,mode=700 tmpfs '{}' && echo mounted && read end",
            mount.display()
        );
        let mut keeper = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare, of util-linux");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "mounted\n", "this test needs user namespaces: sysctl user.max_user_namespaces");
        Self { keeper, mount, _dir: dir }
    }

    /// Where it lies for programs on it.
    fn path(&self) -> &Path {
        &self.mount
    }

    /// The same as seen by everybody else.
    fn seen(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.mount.strip_prefix("/").unwrap())
    }

    /// Runs a program on it.
    fn enter(&self) -> Command {
        let way = self.way();
        let mut command = Command::new(&way[0]);
        command.args(&way[1..]);
        command
    }

    fn way(&self) -> Vec<String> {
        let words = ["nsenter", "--preserve-credentials", "--user", "--mount", "--target"];
        let target = [self.keeper.id().to_string(), "--".into()];
        words.map(str::to_owned).into_iter().chain(target).collect()
    }

    /// Starts a node whose directory it is; its log lies elsewhere.
    fn start_node(&self) -> NodeProcess {
        Setup { through: self.way(), ..Setup::in_dir(&self.mount) }.start()
    }

    /// Takes all the space that is left.
    fn fill(&self) -> PathBuf {
        let path = self.seen().join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        path
    }

    fn make_read_only(&self) {
        let mut remount = self.enter();
        remount.args(["mount", "-o", "remount,ro"]).arg(&self.mount);
        assert!(remount.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// Megabytes for a development node with its model and some hundred blocks.
const DISK_MIB: u32 = 24;

#[tokio::test]
async fn a_full_disk_stops_the_node_and_loses_nothing_that_was_acknowledged() {
    let disk = SmallDisk::new(DISK_MIB);
    let base = disk.path().to_str().unwrap();
    let node = disk.start_node();
    let own = tempfile::tempdir().unwrap();
    let bought = bought(&node, own.path());
    let client = node.client().await;
    let mut heights = client.heights().await.unwrap();
    let ballast = disk.fill();
    let last = last_acknowledged(&client, &mut heights).await;
    let (code, log) = node.wait();
    assert_eq!(code, Some(7), "{log}");
    assert!(log.contains("No space left on device"), "{log}");
    assert!(log.contains("\"hint\":\"free some space"), "{log}");
    // Without space it says so again.
    let again = disk.enter().arg(env!("CARGO_BIN_EXE_assay")).args(start(base)).output().unwrap();
    assert!(!again.status.success(), "{}", told(&again));
    assert!(told(&again).contains("No space left on device"), "{}", told(&again));

    fs::remove_file(ballast).unwrap();
    let node = disk.start_node();
    let client = node.client().await;
    let (height, hash) = last.expect("a block was seen before the disk was full");
    let there: String = client.request("chain_getBlockHash", rpc_params![height]).await.unwrap();
    assert_eq!(there, hash, "block {height} was acknowledged");
    let job = ["job", "show", bought["id"].as_str().unwrap(), "--rpc", &node.rpc, "--base-path"];
    let shown = json(&[&job[..], &[own.path().to_str().unwrap(), "--json"]].concat());
    // It may have been looked at again since.
    let verdict = shown["settlement"]["verdict"].as_str().unwrap();
    assert!(["verified_thin", "retro_verified"].contains(&verdict), "{shown}");
    assert!(shown.get("problem").is_none(), "the answer is there: {shown}");
    assert_eq!(self::bought(&node, own.path())["state"], "settled", "it goes on");
    let holds: Result<(), Vec<u8>> = client.runtime("LedgerApi_check_invariants", ()).await.unwrap();
    assert_eq!(holds, Ok(()));
}

/// The last block that the node told of, and its hash.
async fn last_acknowledged(client: &Client, heights: &mut Heights) -> Option<(u32, String)> {
    let mut last = None;
    while let Ok(height) = heights.next().await {
        if let Ok(hash) = client.request("chain_getBlockHash", rpc_params![height]).await {
            last = Some((height, hash));
        }
    }
    last
}

/// An answer that is bought with orders and receipts in `own`.
fn bought(node: &NodeProcess, own: &Path) -> Value {
    let ask =
        ["job", "submit", "--key", "//Bob", "--model", "demo", "--prompt", "What is 12 + 34?", "--wait"];
    json(&[&ask[..], &["--json", "--rpc", &node.rpc, "--base-path", own.to_str().unwrap()]].concat())
}

#[test]
fn a_disk_that_cannot_be_written_is_told() {
    let disk = SmallDisk::new(DISK_MIB);
    let base = disk.path().to_str().unwrap();
    drop(disk.start_node());
    disk.make_read_only();
    for arguments in [&start(base)[..], &["node", "init", "own", "--endow", "//Alice", "--base-path", base]] {
        let output = disk.enter().arg(env!("CARGO_BIN_EXE_assay")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        assert!(told(&output).contains("Read-only file system"), "{}", told(&output));
        assert!(told(&output).contains("\nhint: choose"), "{}", told(&output));
    }
}

fn start(base: &str) -> [&str; 6] {
    ["node", "--dev", "--rpc-port", "0", "--base-path", base]
}
