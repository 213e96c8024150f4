//! Data directories that something has damaged, taken away or mixed up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{NodeProcess, failure, run};

/// Bytes of a page of the databases.
const PAGE_BYTES: usize = 4096;

/// What happens to a file.
type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 8] = [
    ("missing", |path| fs::remove_file(path).unwrap()),
    ("empty", |path| fs::write(path, "").unwrap()),
    ("cut in half", |path| cut(path, |length| length / 2)),
    ("cut in its header", |path| cut(path, |_| 100)),
    ("without its last byte", |path| cut(path, |length| length - 1)),
    ("another kind of file", |path| fs::write(path, "SQLite format 3\0".repeat(4096)).unwrap()),
    ("every page but its header overwritten", |path| overwrite(path, PAGE_BYTES..)),
    ("its header overwritten", |path| overwrite(path, 0..PAGE_BYTES)),
];

fn cut(path: &Path, length: fn(u64) -> u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(length(file.metadata().unwrap().len())).unwrap();
}

fn overwrite(path: &Path, range: impl std::slice::SliceIndex<[u8], Output = [u8]>) {
    let mut bytes = fs::read(path).unwrap();
    bytes[range].fill(0x5a);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_database_is_told_and_neither_repaired_nor_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let sound = dir.path().join("sound");
    fs::create_dir(&sound).unwrap();
    drop(NodeProcess::start(&sound));
    for file in ["ledger.redb", "jobs.redb"] {
        for (number, (what, damage)) in DAMAGES.iter().enumerate() {
            let base = dir.path().join(format!("{number}-{file}"));
            copy(&sound, &base);
            let path = base.join("dev").join(file);
            damage(&path);
            let (code, message) = failure(&start(&base));
            assert_eq!(code, 7, "{file}, {what}: {message}");
            // Not begun anew by the first try.
            assert_eq!(failure(&start(&base)).0, 7, "{file}, {what}");
            assert!(message.contains(file), "{file}, {what}: {message}");
            assert!(
                message.contains("\nhint: put a copy of the whole data directory"),
                "{file}, {what}: {message}"
            );
            fs::remove_dir_all(&base).unwrap();
        }
    }
    drop(NodeProcess::start(&sound));
}

#[test]
fn damaged_small_files_are_told_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    drop(NodeProcess::start(dir.path()));
    for (file, text, exit, cause) in [
        ("trust.json", "{", 7, "EOF"),
        ("chain-spec.json", "{}", 7, "missing field"),
        ("chain-spec.json", "", 7, "EOF"),
        ("VERSION", "7\n", 2, "its layout is \"7\""),
        ("VERSION", "", 2, "its layout is \"\""),
    ] {
        let path = dir.path().join("dev").join(file);
        let sound = fs::read(&path).unwrap();
        fs::write(&path, text).unwrap();
        let (code, message) = failure(&start(dir.path()));
        assert_eq!(code, exit, "{file}: {message}");
        assert!(message.contains(cause) && message.contains("dev"), "{file}: {message}");
        assert!(message.contains("\nhint: "), "{file}: {message}");
        fs::write(&path, sound).unwrap();
    }
    drop(NodeProcess::start(dir.path()));
}

#[test]
fn a_directory_is_used_for_the_chain_and_by_the_process_that_it_belongs_to() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_str().unwrap();
    let node = NodeProcess::start(dir.path());
    let (code, message) = failure(&start(dir.path()));
    assert_eq!(code, 7, "{message}");
    assert!(message.contains("\nhint: stop the other process"), "{message}");
    drop(node);
    // Another chain's ledger in its place.
    assert!(run(&["node", "init", "own", "--endow", "//Alice", "--base-path", base]).status.success());
    fs::copy(dir.path().join("dev/ledger.redb"), dir.path().join("own/ledger.redb")).unwrap();
    let own = ["node", "--chain", "own", "--rpc-port", "0", "--base-path", base];
    let (code, message) = failure(&own);
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("holds the chain 0x"), "{message}");
    assert!(message.contains("\nhint: choose another directory"), "{message}");
    fs::remove_file(dir.path().join("own/ledger.redb")).unwrap();
    // Another chain's directory under its name.
    fs::rename(dir.path().join("own"), dir.path().join("kept")).unwrap();
    fs::rename(dir.path().join("dev"), dir.path().join("own")).unwrap();
    fs::rename(dir.path().join("kept"), dir.path().join("dev")).unwrap();
    let (code, message) = failure(&start(dir.path()));
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("it belongs to another chain"), "{message}");
}

fn start(base: &Path) -> [&str; 6] {
    ["node", "--dev", "--rpc-port", "0", "--base-path", base.to_str().unwrap()]
}

fn copy(from: &Path, to: &PathBuf) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}
