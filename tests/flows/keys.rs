//! Keys as a person handles them: made, imported, used to sell, and nowhere in the clear.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use assay_node::keys::Words;
use serde_json::Value;
use sp_core::{Pair, sr25519};

use crate::process::{NodeProcess, assay, json, run, told};

const PASSPHRASE: &str = "a passphrase of tests";

/// A file that only its owner reads.
fn private(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    assay_node::private_file::create(&path, text.as_bytes()).unwrap();
    path.to_str().unwrap().into()
}

/// Runs a command with text on its standard input.
fn run_with_input(arguments: &[&str], input: &str) -> Output {
    let mut child = assay()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses before it asks does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_key_lives_from_its_words_to_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("data").to_str().unwrap().to_owned();
    let password = private(dir.path(), "password", &format!("{PASSPHRASE}\n"));
    let common = ["--base-path", &base, "--json"];
    let on = |arguments: &[&str], input: &str| run_with_input(&[arguments, &common].concat(), input);
    let read = |output: Output| -> Value {
        assert!(output.status.success(), "{}", told(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    // Asked for on standard input where there is no terminal.
    let made = read(on(&["key", "new", "a", "--words", "24"], &format!("{PASSPHRASE}\n")));
    let words = made["words"].as_str().unwrap();
    assert_eq!(words.split(' ').count(), 24);
    // The words bring it back: from standard input before the passphrase, or from a file.
    let imported = read(on(&["key", "import", "b"], &format!("{words}\nanother passphrase\n")));
    assert_eq!(imported["address"], made["address"]);
    let file = private(dir.path(), "words", words);
    let imported = ["key", "import", "c", "--mnemonic-file", &file, "--password-file", &password];
    assert_eq!(read(on(&imported, ""))["address"], made["address"]);
    // A new passphrase takes the place of the old one.
    let change = ["key", "change-password", "b"];
    read(on(&change, "another passphrase\nyet another passphrase\n"));
    let refused = on(&change, "another passphrase\nand one more\n");
    assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
    assert!(told(&refused).contains("the passphrase is wrong"), "{}", told(&refused));
    let export = ["key", "export", "b"];
    assert!(told(&on(&export, "yet another passphrase\n")).contains("--yes"));
    let exported = read(on(&["key", "export", "b", "--yes"], "yet another passphrase\n"));
    assert_eq!(exported["words"], words);
    // Without a passphrase there are addresses only, and a derived one takes the passphrase.
    let listed = read(on(&["key", "list"], ""));
    assert_eq!(listed.as_array().unwrap().len(), 3);
    let derived = read(on(&["key", "show", "a//2"], &format!("{PASSPHRASE}\n")));
    let reference = sr25519::Pair::from_string(&format!("{words}//2"), None).unwrap();
    assert_eq!(derived["account"], format!("0x{}", hex::encode(reference.public().0)));
}

#[test]
fn secrets_are_refused_where_others_could_read_them_and_never_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_str().unwrap();
    let phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
    let seed = "ab".repeat(32);
    for secret in [phrase, &seed] {
        let output = run(&["key", "new", secret, "--base-path", base]);
        assert_eq!(output.status.code(), Some(2));
        assert!(told(&output).contains("move what it owns"), "{}", told(&output));
        assert!(!told(&output).contains(secret), "{}", told(&output));
    }
    // Neither an argument nor the environment takes a secret.
    for arguments in [
        &["key", "import", "x", "--mnemonic", phrase][..],
        &["key", "new", "x", "--password", PASSPHRASE],
        &["key", "new", "x", PASSPHRASE],
    ] {
        assert_eq!(run(&[arguments, &["--base-path", base]].concat()).status.code(), Some(2));
    }
    let mut command = assay();
    command.args(["key", "new", "x", "--base-path", base]).stdin(Stdio::null());
    command.env("ASSAY_PASSWORD", PASSPHRASE).env("ASSAY_PASSPHRASE", PASSPHRASE);
    let output = command.output().unwrap();
    assert!(told(&output).contains("it is empty") && told(&output).contains("hint: "), "{}", told(&output));
    let open = dir.path().join("open");
    fs::write(&open, PASSPHRASE).unwrap();
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let output = run(&["key", "new", "x", "--base-path", base, "--password-file", open.to_str().unwrap()]);
    assert!(told(&output).contains(&format!("chmod 600 {}", open.display())), "{}", told(&output));
    assert!(!dir.path().join("dev/keystore/x.json").exists());
}

#[test]
fn what_is_wrong_with_a_key_is_told_with_a_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_str().unwrap();
    let password = private(dir.path(), "password", PASSPHRASE);
    let wrong = private(dir.path(), "wrong", "another passphrase");
    let show = ["key", "show", "a//1", "--base-path", base];
    assert!(run(&["key", "new", "a", "--base-path", base, "--password-file", &password]).status.success());
    let file = dir.path().join("dev/keystore/a.json");
    let sound = fs::read_to_string(&file).unwrap();
    let mode = |bits| fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(bits)).unwrap();
    let failure = |password: &str, code: i32, cause: &str| {
        let output = run(&[&show[..], &["--password-file", password]].concat());
        assert_eq!(output.status.code(), Some(code), "{}", told(&output));
        assert!(told(&output).contains(cause), "{cause}: {}", told(&output));
        assert!(told(&output).contains("\nhint: "), "{cause}: {}", told(&output));
    };
    failure(&wrong, 2, "the passphrase is wrong");
    mode(0o640);
    failure(&password, 2, "mode 640 lets other users in");
    mode(0o600);
    fs::write(&file, sound.replace("\"version\": 1", "\"version\": 7")).unwrap();
    failure(&password, 7, "format 7");
    fs::write(&file, sound.replacen("\"nonce\": \"0x", "\"nonce\": \"0xff", 1)).unwrap();
    failure(&password, 7, "its nonce has 25 bytes");
    fs::write(&file, &sound[..sound.len() / 2]).unwrap();
    failure(&password, 7, "EOF");
    fs::write(&file, &sound).unwrap();
    assert!(run(&[&show[..], &["--password-file", &password]].concat()).status.success());
}

/// The account's key is on one machine, the node on another that never has it.
#[test]
fn a_node_sells_without_the_secret_of_the_account_and_no_file_holds_a_secret() {
    let cold = tempfile::tempdir().unwrap();
    let hot = tempfile::tempdir().unwrap();
    let cold_base = cold.path().join("data").to_str().unwrap().to_owned();
    let password = private(cold.path(), "password", PASSPHRASE);
    let account = ["--base-path", &cold_base, "--password-file", &password, "--json"];
    let made = json(&[&["key", "new", "seller"][..], &account].concat());
    let address = made["address"].as_str().unwrap();
    // The machine that works makes its keys by the account's address alone.
    let hot_base = hot.path().to_str().unwrap();
    let keys = json(&["provider", "keys", address, "--base-path", hot_base, "--json"]);
    let again = json(&["provider", "keys", address, "--base-path", hot_base, "--json"]);
    assert_eq!(keys, again, "keys are made once");
    let node = NodeProcess::start_with(hot.path(), &["--provider", address]);
    transfer(&node, address);
    let published = ["--work-key", keys["workKey"].as_str().unwrap()];
    let published = [&published[..], &["--encryption-key", keys["encryptionKey"].as_str().unwrap()]].concat();
    let signed = [&["--rpc", &node.rpc, "--key", "seller"][..], &account].concat();
    json(&[&["provider", "stake", "2000"][..], &published, &signed].concat());
    let terms = ["--model", &node.model().to_string(), "--input-price", "1000", "--output-price", "2000"];
    let terms = [&terms[..], &["--verify-price", "500", "--capacity", "4"]].concat();
    let offered = json(&[&["provider", "offer"][..], &terms, &signed].concat());
    wait_until(&node, offered["effectiveAt"].as_u64().unwrap());
    bought_from(&node, address, hot_base);
    let words = Words::parse(made["words"].as_str().unwrap()).unwrap();
    for base in [&cold.path().join("data"), hot.path()] {
        holds_no_secret(base, &words);
    }
}

/// Gives an account tokens to stake and to pay fees with.
fn transfer(node: &NodeProcess, address: &str) {
    use assay_node::keys::Key;
    use assay_runtime::{Address, Runtime, UNIT};
    use sp_core::crypto::Ss58Codec;
    let to = Address::Id(sp_core::crypto::AccountId32::from_ss58check(address).unwrap());
    let call = pallet_balances::Call::<Runtime>::transfer_allow_death { dest: to, value: 3_000 * UNIT };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let alice = Key::development("//Alice").unwrap();
        node.client().await.submit(&alice, "transfer", call.into()).await.unwrap();
    });
}

fn wait_until(node: &NodeProcess, height: u64) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = node.client().await;
        let mut heights = client.heights().await.unwrap();
        while u64::from(heights.next().await.unwrap()) < height {}
    });
}

/// Buys an answer from this provider alone.
fn bought_from(node: &NodeProcess, address: &str, base: &str) {
    let ask = ["job", "submit", "--rpc", &node.rpc, "--base-path", base, "--key", "//Bob", "--model", "demo"];
    let ask =
        [&ask[..], &["--executor", address, "--prompt", "What is 12 + 34?", "--wait", "--json"]].concat();
    let bought = json(&ask);
    assert_eq!(bought["state"], "settled", "{bought}");
    assert_eq!(bought["executor"], address, "{bought}");
}

/// That no file under `base` holds the words, or what follows from them.
fn holds_no_secret(base: &Path, words: &Words) {
    let phrase = words.phrase().unwrap();
    let (pair, seed) = sr25519::Pair::from_phrase(&phrase, None).unwrap();
    let expanded = pair.as_ref().secret.to_bytes();
    let mut secrets: Vec<Vec<u8>> = vec![phrase.as_bytes().to_vec(), PASSPHRASE.into()];
    for raw in [words.entropy(), &seed[..], &expanded[..32]] {
        secrets.extend([raw.to_vec(), hex::encode(raw).into_bytes()]);
    }
    let files = files(base);
    assert!(!files.is_empty(), "{}", base.display());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{} holds {:?}", file.display(), String::from_utf8_lossy(secret));
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
