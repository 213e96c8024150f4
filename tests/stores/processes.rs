//! A process that writes is killed, or finds that its files may not grow any more.

use std::env;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use assay_node::adapters::open_ledger;
use assay_node::data_dir::LedgerStore;
use assay_runtime::executor::Kv;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::batches::{batch, whole};
use crate::torn::Files;

/// Set in the process that is to die: the directory in which it writes.
const DOOMED: &str = "ASSAY_STORES_TEST_DOOMED";
/// A name of this test, by which it finds itself in the process that is to die.
const KILLED: &str = "processes::a_killed_process_leaves_whole_batches";
const KILLS: u32 = 12;

#[test]
fn a_killed_process_leaves_whole_batches() {
    if let Some(dir) = env::var_os(DOOMED) {
        return write_until_the_end(Path::new(&dir));
    }
    let mut dice = StdRng::seed_from_u64(3);
    for store in LedgerStore::ALL {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(store.name());
        let mut held = 0;
        for _ in 0..KILLS {
            let mut writer = Writer::start(&mut test_of_ours(), &path);
            let wanted = dice.gen_range(0..20);
            let heard = writer.acknowledged.by_ref().take(wanted).last();
            writer.child.kill().unwrap();
            let acknowledged = writer.end().or(heard).unwrap_or(held);
            held = opened_whole(store, &path, acknowledged);
        }
        assert!(held > KILLS, "it wrote between the kills");
    }
}

/// Runs the writer with a limit on the length of its files, as a full disk would set one.
#[test]
fn a_process_whose_files_may_not_grow_leaves_whole_batches() {
    for store in LedgerStore::ALL {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(store.name());
        let mut held = 0;
        // In half KiB; an empty store takes some hundreds.
        for limit in (100..3_300).step_by(400) {
            let mut shell = Command::new("sh");
            let limited = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
            shell.args(["-c", &limited]).arg(env::current_exe().unwrap());
            let mut writer = Writer::start(&mut shell, &path);
            let acknowledged = writer.end().unwrap_or(held);
            assert!(acknowledged >= held);
            held = opened_whole(store, &path, acknowledged);
        }
        assert!(held > 10, "it wrote before its files were full");
    }
}

fn test_of_ours() -> Command {
    Command::new(env::current_exe().unwrap())
}

/// A process that writes batches and says when each is durable.
struct Writer {
    child: Child,
    acknowledged: Box<dyn Iterator<Item = u32>>,
}

impl Writer {
    fn start(command: &mut Command, path: &Path) -> Self {
        let mut child = command
            .args(["--exact", KILLED, "--nocapture"])
            .env(DOOMED, path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines: Lines<BufReader<ChildStdout>> = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: String| line.strip_prefix("durable ")?.parse().ok();
        Self { child, acknowledged: Box::new(lines.map_while(Result::ok).filter_map(number)) }
    }

    /// Waits for its end; the last batch that it acknowledged from now on.
    fn end(&mut self) -> Option<u32> {
        let last = self.acknowledged.by_ref().last();
        self.child.wait().unwrap();
        last
    }
}

/// Writes until it is killed or cannot any more.
fn write_until_the_end(path: &Path) {
    let store = LedgerStore::ALL.into_iter().find(|store| path.ends_with(store.name())).unwrap();
    let kv = open_ledger(store, path).unwrap();
    for number in whole(&kv) + 1.. {
        if kv.commit(batch(number)).is_err() {
            return;
        }
        println!("durable {number}");
    }
}

/// Opens what a process has left; how many batches it holds.
fn opened_whole(store: LedgerStore, path: &Path, acknowledged: u32) -> u32 {
    // sled keeps a lock in the process that opened it, and the next writer needs the directory.
    let copy = tempfile::tempdir().unwrap();
    let path = match store {
        LedgerStore::Redb => path.to_owned(),
        LedgerStore::Sled => copied(path, &copy.path().join("sled")),
    };
    let kv = open_ledger(store, &path).unwrap_or_else(|error| panic!("{}: {error}", store.name()));
    let held = whole(&kv);
    assert!((acknowledged..=acknowledged + 1).contains(&held), "{held} batches of {acknowledged}");
    held
}

fn copied(from: &Path, to: &Path) -> PathBuf {
    Files::read(from).write(to);
    to.to_owned()
}
