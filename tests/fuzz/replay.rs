//! Replays what each fuzz target begins with, what was found before, and changes of both: what breaks at once is found
//! here, and the rest by `tests/fuzz/run`, which counts edges and takes as long as it is given.
//!
//! It is one test, so that nothing else takes memory while a parser's is counted.

#[path = "src/calls.rs"]
mod calls;
#[path = "src/chain.rs"]
mod chain;
#[path = "src/chain_spec.rs"]
mod chain_spec;
#[path = "src/consensus.rs"]
mod consensus;
#[path = "src/encoder.rs"]
mod encoder;
#[path = "src/encodings.rs"]
mod encodings;
#[path = "src/extrinsics.rs"]
mod extrinsics;
#[path = "src/gguf.rs"]
mod gguf;
#[path = "src/json.rs"]
mod json;
#[path = "src/memory.rs"]
mod memory;
#[path = "src/model.rs"]
mod model;
#[path = "src/random.rs"]
mod random;
#[path = "src/ranges.rs"]
mod ranges;
#[path = "src/receipts.rs"]
mod receipts;
#[path = "src/rpc.rs"]
mod rpc;
#[path = "src/safetensors.rs"]
mod safetensors;
#[path = "src/settled.rs"]
mod settled;
#[path = "src/streams.rs"]
mod streams;
#[path = "src/template.rs"]
mod template;
#[path = "src/tokenizer.rs"]
mod tokenizer;
#[path = "src/tolerance.rs"]
mod tolerance;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use random::Random;

/// Changed inputs of each input of a target.
const CHANGES: u64 = 24;

/// Changes an input by a random number; nothing where it is too broken for that.
type Mutator = fn(&[u8], u64) -> Option<Vec<u8>>;

/// A target as its program under `targets/` names it.
struct Target {
    name: &'static str,
    seeds: fn() -> Vec<Vec<u8>>,
    check: fn(&[u8]),
    mutate: Option<Mutator>,
}

macro_rules! target {
    ($name:ident) => {
        Target { name: stringify!($name), seeds: $name::seeds, check: $name::check, mutate: None }
    };
    ($name:ident, mutate) => {
        Target { mutate: Some($name::mutate), ..target!($name) }
    };
}

/// All of them. The node of `rpc` stays, and takes memory when it likes: it comes last.
const TARGETS: [Target; 15] = [
    target!(gguf, mutate),
    target!(safetensors),
    target!(model, mutate),
    target!(encoder, mutate),
    target!(tolerance, mutate),
    target!(tokenizer),
    target!(template),
    target!(encodings),
    target!(streams),
    target!(ranges),
    target!(consensus),
    target!(receipts, mutate),
    target!(extrinsics, mutate),
    target!(chain_spec, mutate),
    target!(rpc, mutate),
];

#[test]
fn every_target_holds_on_its_seeds_on_what_was_found_and_on_changes_of_both() {
    assert_eq!(names_of_programs(), sorted(TARGETS.iter().map(|target| target.name.to_owned())));
    for target in &TARGETS {
        let inputs: Vec<_> = (target.seeds)().into_iter().chain(found_before(target.name)).collect();
        assert!(!inputs.is_empty(), "{} begins with nothing", target.name);
        for (number, input) in (0u64..).zip(&inputs) {
            target.hold(input);
            (0..CHANGES)
                .filter_map(|n| target.changed(input, number << 32 | n))
                .for_each(|it| target.hold(&it));
        }
    }
}

impl Target {
    fn hold(&self, input: &[u8]) {
        let held = catch_unwind(AssertUnwindSafe(|| (self.check)(input)));
        assert!(held.is_ok(), "{} does not hold on {}", self.name, hex::encode(input));
    }

    /// The input with a few bytes other or gone, or changed as the target knows how.
    fn changed(&self, input: &[u8], seed: u64) -> Option<Vec<u8>> {
        if let Some(mutate) = self.mutate.filter(|_| !seed.is_multiple_of(4)) {
            return mutate(input, seed);
        }
        let mut random = Random::new(seed);
        let mut changed = input.to_vec();
        for _ in 0..=random.next() % 3 {
            let place = usize::try_from(random.next()).ok()?.checked_rem(changed.len())?;
            match random.next() % 4 {
                0 => changed.truncate(place),
                _ => changed[place] = random.next().to_le_bytes()[0],
            }
        }
        Some(changed)
    }
}

fn found_before(target: &str) -> Vec<Vec<u8>> {
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/regressions").join(target).exists() {
        return Vec::new();
    }
    here(&format!("regressions/{target}")).map(|path| std::fs::read(path).unwrap()).collect()
}

fn here(folder: &str) -> impl Iterator<Item = std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz").join(folder);
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

fn names_of_programs() -> Vec<String> {
    sorted(here("targets").map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()))
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
