//! A store survives the death of its process, which no step inside of it can see coming.

use assay_manifest::ArtifactKind;
use assay_store::Store;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Set in the process that is to be killed: the directory that it works in.
const DOOMED: &str = "ASSAY_STORE_TEST_DOOMED";

#[test]
fn a_killed_process_leaves_a_store_that_opens_whole() {
    if let Some(dir) = env::var_os(DOOMED) {
        churn(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("own"), name.repeat(100_000)).unwrap();
        fs::write(dir.path().join(name).join("shared"), "shared").unwrap();
    }
    for operations in 1..=8 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "a_killed_process_leaves_a_store_that_opens_whole", "--nocapture"])
            .env(DOOMED, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Open until the kill, or the child would end by a failed write instead.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let done = lines.by_ref().filter(|line| line.ends_with("done")).take(operations).count();
        assert_eq!(done, operations);
        child.kill().unwrap();
        child.wait().unwrap();
        check(&Store::open(&dir.path().join("store")).unwrap());
    }
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
