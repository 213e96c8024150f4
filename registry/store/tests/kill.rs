//! A store survives the death of its process, which no step inside of it can see coming.

use assay_manifest::ArtifactKind;
use assay_store::{GROUP_BYTES, Store};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Set in the process that is to be killed: the directory that it works in.
const DOOMED: &str = "ASSAY_STORE_TEST_DOOMED";

/// A name of this test, by which it finds itself in the process that is to be killed.
const KILLED: &str = "a_killed_process_leaves_a_store_that_opens_whole";

#[test]
fn a_killed_process_leaves_a_store_that_opens_whole() {
    if let Some(dir) = env::var_os(DOOMED) {
        churn(Path::new(&dir));
    }
    let dir = files();
    for operations in 1..=8 {
        let mut child = doomed(&mut Command::new(env::current_exe().unwrap()), dir.path());
        // Open until the kill, or the child would end by a failed write instead.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let done = lines.by_ref().filter(|line| line.ends_with("done")).take(operations).count();
        assert_eq!(done, operations);
        child.kill().unwrap();
        child.wait().unwrap();
        check(&Store::open(&dir.path().join("store")).unwrap());
    }
}

/// A limit on the length of every file stands for a disk that is full.
#[test]
fn a_process_that_cannot_write_any_more_leaves_a_store_that_opens_whole() {
    let dir = files();
    // In half KiB: less than one of the files to import, and less than a new index, in two ways.
    for limit in [50, 300, 1_000] {
        let mut shell = Command::new("sh");
        let limited = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
        shell.args(["-c", &limited]).arg(env::current_exe().unwrap());
        let ended = doomed(&mut shell, dir.path()).wait_with_output().unwrap();
        assert!(!ended.status.success(), "it ended because a write failed");
        check(&Store::open(&dir.path().join("store")).unwrap());
    }
}

/// Groups of a range of the download that is killed.
const RANGE_GROUPS: u64 = 4;
/// A name of this test, by which it finds itself in the process that is to be killed.
const DOWNLOAD_KILLED: &str = "a_killed_download_goes_on_where_it_was";

#[test]
fn a_killed_download_goes_on_where_it_was() {
    if let Some(dir) = env::var_os(DOOMED) {
        receive_all(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..40 * GROUP_BYTES).map(|at| (at * at / 7) as u8).collect();
    fs::write(dir.path().join("content"), content).unwrap();
    let from = Store::open(&dir.path().join("from")).unwrap();
    let manifest = from.import(&dir.path().join("content"), ArtifactKind::Dataset, &mut |_| {}).unwrap();
    drop(from);
    let (blob, size) = (manifest.files()[0].blake3, manifest.size_bytes());
    for ranges in 1..=4 {
        let mut command = Command::new(env::current_exe().unwrap());
        command.stdin(Stdio::piped());
        let mut child = doomed_as(DOWNLOAD_KILLED, &mut command, dir.path());
        // Two ranges are asked for, and the kill comes after the first.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"next\nnext\n").unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let done = lines.by_ref().filter(|line| line.ends_with("done")).take(1).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(done, 1);
        let store = Store::open(&dir.path().join("store")).unwrap();
        let missing = store.partial(&blob, size).unwrap().missing_bytes();
        assert!(
            missing <= size - ranges * RANGE_GROUPS * GROUP_BYTES,
            "what was said to be here is here: {missing}"
        );
    }
    let (from, store) = stores(dir.path());
    receive(&from, &store, || {}, |_| {});
    assert_eq!(store.publish_download(&manifest, ArtifactKind::Dataset, &mut |_| {}).unwrap(), manifest);
    check(&store);
}

fn stores(dir: &Path) -> (Store, Store) {
    (Store::open(&dir.join("from")).unwrap(), Store::open(&dir.join("store")).unwrap())
}

/// Receives what is missing of the one file, a range for each line of input, until killed.
fn receive_all(dir: &Path) -> ! {
    let (from, store) = stores(dir);
    let mut lines = std::io::stdin().lines();
    let mut wait = || drop(lines.next().unwrap().unwrap());
    receive(&from, &store, &mut wait, |range| println!("{range:?} done"));
    wait();
    std::process::exit(0)
}

fn receive(from: &Store, store: &Store, mut wait: impl FnMut(), mut told: impl FnMut(Range<u64>)) {
    let id = *from.list().unwrap().first().unwrap();
    let file = from.get(&id).unwrap().files()[0].clone();
    let partial = store.partial(&file.blake3, file.size).unwrap();
    let reader = from.reader(&file.blake3).unwrap();
    let step = RANGE_GROUPS * GROUP_BYTES;
    for missing in partial.missing(0..file.size) {
        for start in (missing.start..missing.end).step_by(step as usize) {
            let range = start..missing.end.min(start + step);
            wait();
            let (mut encoding, mut bytes) = (reader.encode(range.clone()).unwrap(), Vec::new());
            while let Some(chunk) = encoding.next_chunk(Vec::new()).unwrap() {
                bytes.extend_from_slice(&chunk);
            }
            partial.receive(range.clone(), bytes.as_slice(), |_| ControlFlow::Continue(())).unwrap();
            told(range);
        }
    }
}

/// A directory with things to import.
fn files() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("own"), name.repeat(100_000)).unwrap();
        fs::write(dir.path().join(name).join("shared"), "shared").unwrap();
    }
    dir
}

/// Starts a process that works in `dir` until it ends.
fn doomed(command: &mut Command, dir: &Path) -> Child {
    doomed_as(KILLED, command, dir)
}

fn doomed_as(test: &str, command: &mut Command, dir: &Path) -> Child {
    let child = command.args(["--exact", test, "--nocapture"]).env(DOOMED, dir).stdout(Stdio::piped());
    child.stderr(Stdio::null()).spawn().unwrap()
}

/// Imports, names and removes until killed, saying so after each.
fn churn(dir: &Path) -> ! {
    let store = Store::open(&dir.join("store")).unwrap();
    loop {
        for name in ["a", "b", "c"] {
            let manifest = store.import(&dir.join(name), ArtifactKind::Dataset, &mut |_| {}).unwrap();
            println!("import done");
            store.set_name(&name.parse().unwrap(), &manifest.artifact_id()).unwrap();
            println!("name done");
        }
        for id in store.list().unwrap() {
            store.remove(&id).unwrap();
            println!("removal done");
        }
    }
}

fn check(store: &Store) {
    for id in store.list().unwrap() {
        for file in store.get(&id).unwrap().files() {
            store.read_all_verified(&file.blake3).unwrap();
            assert!(store.find(&file.sha256).unwrap().iter().any(|found| found.artifact_id == id));
        }
    }
    for (name, id) in store.names().unwrap() {
        store.get(&id).unwrap();
        assert_eq!(store.by_name(&name).unwrap(), id);
    }
    store.collect_garbage().unwrap();
}
