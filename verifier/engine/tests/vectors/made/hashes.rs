//! What is hashed: prompts, names of definitions, traces.

use assay_manifest::{Digest32, TaggedHash, merkle};
use assay_protocol::request::prompt_hash;
use assay_protocol::trace::{PositionState, TraceBuilder, layers_root};

use super::draws::SplitMix64;
use super::form::{Case, File};

pub fn prompt() -> File {
    let prompts: [(&str, &[u32]); 4] =
        [("none", &[]), ("one", &[7]), ("some", &[0, 1, 255, 256, 65_536]), ("largest", &[u32::MAX; 3])];
    let cases = prompts
        .map(|(name, tokens)| Case::new(name).ints("tokens", tokens).digest("result", &prompt_hash(tokens)));
    File::new("prompt-hash", &["trace"], &cases)
}

/// The id over names of definitions, which are sorted first.
pub fn spec_id(names: &[String]) -> Digest32 {
    let mut names: Vec<String> = names.iter().map(|name| format!("assay-num-1/{name}")).collect();
    names.sort();
    let count = u32::try_from(names.len()).expect("few names");
    let hash = TaggedHash::new("assay/spec/1").u32(count);
    names.iter().fold(hash, |hash, name| hash.var(name.as_bytes())).finish()
}

/// Lists that show the form; those of models stand with the models.
pub fn spec() -> File {
    let lists: [(&str, &[&str]); 3] = [
        ("none", &[]),
        ("one", &["add"]),
        ("sorted by bytes", &["trace", "rope-halves", "add", "product-q8_0", "product-q4_k", "qwen2"]),
    ];
    let cases = lists.map(|(name, names)| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Case::new(name).texts("definitions", &names).digest("result", &spec_id(&names))
    });
    File::new("spec-id", &[], &cases)
}

/// Traces of several lengths, with every hash between the layers and the root.
pub fn trace() -> File {
    let cases = [(0, 0), (1, 1), (2, 1), (3, 2), (5, 7), (8, 3), (11, 2)].map(|(length, layers)| {
        let mut trace = TraceBuilder::new();
        let positions: Vec<Case> =
            (0..length).map(|position| leaf(&mut trace, position, length, layers)).collect();
        Case::new("positions")
            .int("layers", layers)
            .cases("positions", &positions)
            .digest("result", &trace.root())
    });
    File::new("trace", &["trace"], &cases)
}

/// The prompt is all but the last three positions; the last has no forward pass.
fn leaf(trace: &mut TraceBuilder, position: u32, length: u32, layers: usize) -> Case {
    let mut random = SplitMix64(u64::from(length) << 32 | u64::from(position));
    let mut digest = || {
        let bytes: Vec<u8> = (0..4).flat_map(|_| random.next().to_le_bytes()).collect();
        Digest32::from_bytes(bytes.try_into().expect("32 bytes"))
    };
    let last = position + 1 == length;
    let hashes: Vec<Digest32> = (0..if last { 0 } else { layers }).map(|_| digest()).collect();
    let state = PositionState {
        position,
        token: position.wrapping_mul(0x9e37_79b9),
        layers_root: (!last).then(|| layers_root(&hashes)),
        logits_hash: (!last && position + 4 > length).then(&mut digest),
    };
    trace.push(&state);
    let case = Case::new("leaf").int("position", position as usize).int("token", state.token as usize);
    let case = case.digests("layers", &hashes);
    let case = case.digest("layers_root", &state.layers_root.unwrap_or(Digest32::ZERO));
    let case = case.digest("logits", &state.logits_hash.unwrap_or(Digest32::ZERO));
    case.bytes("leaf", &state.leaf_bytes()).digest("leaf_hash", &merkle::leaf_hash(&state.leaf_bytes()))
}
