//! The shape of this repository, a test a rule: who imports whom, what is depended on, how long things
//! are, and which words do not appear.
//!
//! The rules read cargo's metadata and the text of the sources; their functions stand in `tidy/`, each
//! with tests that show it refusing. An exemption is a row here, with its reason.

#![forbid(unsafe_code)]

#[path = "tidy/cargo_toml.rs"]
mod cargo_toml;
#[path = "tidy/packages.rs"]
mod packages;
#[path = "tidy/rust.rs"]
mod rust;
#[path = "tidy/spdx.rs"]
mod spdx;
#[path = "tidy/tree.rs"]
mod tree;

use cargo_metadata::{Metadata, Package};
use packages::Imports;
use std::fs;
use tree::{File, Word, root};

/// Allowed imports between our crates, bottom up. Nobody imports the node.
const IMPORTS: &[Imports] = &[
    crate_row("assay-manifest", &[]),
    crate_row("assay-store", &["assay-manifest"]),
    crate_row("assay-protocol", &["assay-manifest"]),
    crate_row("assay-kernels", &[]),
    crate_row("assay-engine", &["assay-kernels", "assay-protocol", "assay-manifest"]),
    Imports {
        name: "assay-tolerance",
        may: &["assay-engine", "assay-protocol", "assay-manifest"],
        dev: &[("assay-kernels", "its tests take weights apart as the reference does")],
    },
    crate_row("assay-lineage", &["assay-kernels", "assay-engine", "assay-manifest"]),
    crate_row("assay-lineage", &["assay-kernels", "assay-engine", "assay-manifest"]),
    crate_row("assay-trainer", &["assay-kernels", "assay-engine", "assay-manifest"]),
    crate_row("pallet-assay-artifacts", PALLET_IMPORTS),
    crate_row("pallet-assay-providers", PALLET_IMPORTS),
    crate_row("pallet-assay-jobs", PALLET_IMPORTS),
    crate_row("pallet-assay-transparency", PALLET_IMPORTS),
    crate_row("pallet-assay-validators", PALLET_IMPORTS),
    crate_row("assay-runtime", RUNTIME_IMPORTS),
    crate_row("assay-node", NODE_IMPORTS),
];

/// Pallets do not import one another: `runtime/src` ties them.
const PALLET_IMPORTS: &[&str] = &["assay-protocol", "assay-manifest"];

const RUNTIME_IMPORTS: &[&str] = &[
    "pallet-assay-artifacts",
    "pallet-assay-providers",
    "pallet-assay-jobs",
    "pallet-assay-transparency",
    "pallet-assay-validators",
    "assay-protocol",
    "assay-manifest",
];

/// All but the trainer, a tool that no node needs.
const NODE_IMPORTS: &[&str] = &[
    "assay-manifest",
    "assay-store",
    "assay-protocol",
    "assay-kernels",
    "assay-engine",
    "assay-tolerance",
    "assay-lineage",
    "assay-runtime",
    "pallet-assay-artifacts",
    "pallet-assay-providers",
    "pallet-assay-jobs",
    "pallet-assay-transparency",
    "pallet-assay-validators",
];

/// A crate whose tests import no more than itself; one that needs more is written out with the reason.
const fn crate_row(name: &'static str, may: &'static [&'static str]) -> Imports {
    Imports { name, may, dev: &[] }
}

/// Crates that a light client or an auditor builds: no effects, no ledger.
const PURE: &[&str] = &["assay-manifest", "assay-protocol"];

/// Beginnings of the names of packages that read clocks, disks, networks or randomness, or that are FRAME.
const EFFECTS: &[&str] = &[
    "frame-",
    "pallet-",
    "sp-",
    "tokio",
    "futures",
    "jsonrpsee",
    "redb",
    "sled",
    "rand",
    "tempfile",
    "tracing",
];

/// Crates in which nothing may panic and no number may wrap.
const CHECKED: &[&str] = &[
    "assay-manifest",
    "assay-protocol",
    "assay-runtime",
    "pallet-assay-artifacts",
    "pallet-assay-providers",
    "pallet-assay-jobs",
    "pallet-assay-transparency",
    "pallet-assay-validators",
];

/// The header of a checked crate, without white space.
const NO_PANIC: &str = "deny(clippy::unwrap_used,clippy::expect_used,clippy::panic,clippy::indexing_slicing)";

/// The only crate with unsafe code.
const KERNELS: &str = "assay-kernels";

/// Licences under which an Apache-2.0 program may be built and given away.
const LICENSES: &[&str] = &[
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Packages under another licence: package, its expression, why it may be used all the same.
const LICENSE_EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "attohttpc",
    "MPL-2.0",
    "part of Malachite's libp2p; what it asks for is asked of its own files, which are as published",
)];

const SOURCE_FOLDERS: &[&str] = &["registry", "verifier", "runtime", "node", "tests"];

const TOP_LEVEL: &[&str] = &[
    // The folders of docs/ARCHITECTURE.md.
    "registry",
    "verifier",
    "runtime",
    "node",
    "tests",
    "docs",
    // What people and tools look for in a root, and what a build leaves there.
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "justfile",
    "rustfmt.toml",
    "target",
];

/// Past this a file is two; most stay under half of it.
const FILE_LINES_MAX: usize = 800;
/// Files that may be longer: path, reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Past this a function is two; most stay under half of it.
const FUNCTION_LINES_MAX: usize = 70;
/// Functions that may be longer: path, function, reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

#[test]
fn crates_import_only_what_the_design_allows() {
    let metadata = packages::metadata(&root());
    let faults = packages::import_faults(&members(&metadata), IMPORTS);
    expect_none(&faults, "move the code to the crate that may have it, or change the design and this table");
}

#[test]
fn pure_crates_have_no_effects() {
    let metadata = packages::metadata(&root());
    let faults = packages::effect_faults(&members(&metadata), PURE, EFFECTS);
    expect_none(&faults, "pass the value in, and keep the effect in the node");
}

#[test]
fn every_dependency_has_a_compatible_licence() {
    let metadata = packages::metadata(&root());
    let faults = packages::license_faults(&metadata.packages, LICENSES, LICENSE_EXCEPTIONS);
    expect_none(
        &faults,
        "use another package, or list it in LICENSE_EXCEPTIONS and deny.toml with the reason",
    );
}

#[test]
fn our_crates_are_apache_2_and_unpublished() {
    let metadata = packages::metadata(&root());
    let is_wrong = |package: &&&Package| {
        package.license.as_deref() != Some("Apache-2.0") || package.publish != Some(vec![])
    };
    let faults: Vec<_> =
        members(&metadata).iter().filter(is_wrong).map(|package| package.name.to_string()).collect();
    expect_none(&faults, "take license and publish from the workspace");
}

#[test]
fn dependencies_come_from_crates_io_or_this_tree() {
    let faults = packages::source_faults(&packages::metadata(&root()).packages);
    expect_none(&faults, "a git or foreign source can vanish or change: depend on a published version");
}

#[test]
fn every_version_is_pinned() {
    let metadata = packages::metadata(&root());
    let faults = packages::pin_faults(&members(&metadata));
    expect_none(&faults, "pin `=x.y.z` in [workspace.dependencies] and say `name.workspace = true`");
}

#[test]
fn every_dependency_has_a_reason() {
    let workspaces = ["Cargo.toml", "tests/fuzz/Cargo.toml"];
    let faults: Vec<_> =
        workspaces.iter().flat_map(|manifest| cargo_toml::reason_faults(&read(manifest))).collect();
    expect_none(&faults, "say why it is here in a comment on its line in its workspace's Cargo.toml");
}

#[test]
fn numbers_that_overflow_in_checked_crates_stop_a_release_too() {
    let faults = cargo_toml::overflow_faults(&read("Cargo.toml"), CHECKED);
    expect_none(&faults, "add [profile.release.package.NAME] with `overflow-checks = true`");
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    let metadata = packages::metadata(&root());
    let lacks = |package: &&&Package| {
        let manifest = fs::read_to_string(&package.manifest_path).expect("reading a manifest");
        !cargo_toml::takes_workspace_lints(&manifest)
    };
    let faults: Vec<_> =
        members(&metadata).iter().filter(lacks).map(|package| package.name.to_string()).collect();
    expect_none(&faults, "add `[lints]` with `workspace = true`");
}

#[test]
fn every_crate_but_the_kernels_forbids_unsafe_code() {
    let lacks = |header: &str| !header.contains("#![forbid(unsafe_code)]");
    let faults = header_faults(|package| package.name != KERNELS, lacks);
    expect_none(&faults, "add `#![forbid(unsafe_code)]`");
}

#[test]
fn checked_crates_forbid_what_panics() {
    let faults =
        header_faults(|package| CHECKED.contains(&package.name.as_str()), |code| !code.contains(NO_PANIC));
    expect_none(&faults, "add `#![cfg_attr(not(test), deny(…))]` as in registry/manifest/src/lib.rs");
}

#[test]
fn files_stay_under_the_cap() {
    let faults = tree::file_length_faults(&sources(), FILE_LINES_MAX, LONG_FILES);
    expect_none(&faults, "split the file by purpose");
}

#[test]
fn functions_stay_under_the_cap() {
    let faults = tree::function_length_faults(&sources(), FUNCTION_LINES_MAX, LONG_FUNCTIONS);
    expect_none(&faults, "move steps into functions of their own, below their caller");
}

#[test]
fn every_exemption_is_still_needed() {
    let files = tree::file_length_faults(&sources(), FILE_LINES_MAX, &[]);
    let functions = tree::function_length_faults(&sources(), FUNCTION_LINES_MAX, &[]);
    let is_long_file = |path: &str| files.iter().any(|fault| fault.starts_with(path));
    let is_long_function = |path: &str, name: &str| {
        functions.iter().any(|fault| fault.starts_with(path) && fault.contains(&format!(" {name} has ")))
    };
    let idle_files = LONG_FILES.iter().filter(|(path, _)| !is_long_file(path)).map(|(path, _)| *path);
    let idle_functions = LONG_FUNCTIONS.iter().filter(|(path, name, _)| !is_long_function(path, name));
    let faults: Vec<_> =
        idle_files.chain(idle_functions.map(|(_, name, _)| *name)).map(str::to_owned).collect();
    expect_none(&faults, "remove the row from LONG_FILES or LONG_FUNCTIONS");
}

#[test]
fn unsafe_code_stays_in_the_kernels() {
    expect_no_words(
        &[Word { text: "unsafe", only_under: &["verifier/kernels/"] }],
        "write it safely, or put it behind a safe function of assay-kernels",
    );
}

#[test]
fn nothing_is_left_to_be_done_or_to_be_run_later() {
    let words = ["todo!", "unimplemented!", "#[ignore"];
    expect_no_words(&words.map(anywhere), "do it now, or leave it out");
}

#[test]
fn every_queue_is_bounded() {
    let words =
        ["unbounded(", "unbounded_channel", "UnboundedSender", "UnboundedReceiver", "mpsc::channel()"];
    expect_no_words(&words.map(anywhere), "take a bounded queue, and say what happens when it is full");
}

#[test]
fn no_state_is_global() {
    let words = ["static mut", "lazy_static!"];
    expect_no_words(&words.map(anywhere), "pass it to whoever needs it");
}

#[test]
fn nothing_waits_by_sleeping() {
    expect_no_words(
        &[anywhere("sleep")],
        "wait for the event (a channel, a condition variable, a process's exit); pace with an interval",
    );
}

#[test]
fn errors_are_typed_but_at_the_edge() {
    let edge = &["node/src/main.rs", "node/src/cli/", "verifier/trainer/src/main.rs", "tests/"];
    expect_no_words(
        &[Word { text: "anyhow", only_under: edge }],
        "write a thiserror enum whose messages say what was attempted",
    );
}

#[test]
fn the_root_holds_only_what_the_design_names() {
    let faults = tree::top_level_faults(&tree::top_level(&root()), TOP_LEVEL);
    expect_none(&faults, "move it into the folder of its purpose");
}

fn expect_none(faults: &[String], remedy: &str) {
    assert!(faults.is_empty(), "{remedy}:\n  {}", faults.join("\n  "));
}

fn expect_no_words(words: &[Word], remedy: &str) {
    expect_none(&tree::word_faults(&sources(), words), remedy);
}

const fn anywhere(text: &'static str) -> Word {
    Word { text, only_under: &[] }
}

fn sources() -> Vec<File> {
    tree::rust_files(&root(), SOURCE_FOLDERS)
}

fn members(metadata: &Metadata) -> Vec<&Package> {
    metadata.workspace_packages()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("reading a file of the root")
}

/// Roots of libraries and programs of chosen crates whose code, without white space, lacks something.
fn header_faults(is_chosen: impl Fn(&Package) -> bool, lacks: impl Fn(&str) -> bool) -> Vec<String> {
    let metadata = packages::metadata(&root());
    let chosen = members(&metadata).into_iter().filter(|package| is_chosen(package));
    let targets = chosen.flat_map(|package| &package.targets).filter(|t| t.is_lib() || t.is_bin());
    let files = targets.map(|target| &target.src_path);
    let faults = files.filter(|path| {
        let source = fs::read_to_string(path).expect("reading the root of a crate");
        lacks(&rust::Code::of(&source).squeezed())
    });
    faults.map(ToString::to_string).collect()
}
