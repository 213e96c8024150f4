//! Model files that are cut off, lie, or attack: the binary refuses each with what is wrong and what to do.

use std::fs;
use std::path::{Path, PathBuf};

use assay_engine::synthetic::{Synthetic, Tensor};
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::{self, Array, Gguf, Metadata, Value};

use crate::process::{NodeProcess, run};

/// Exit code of a command that was asked for something that makes no sense.
const USAGE: i32 = 2;

/// A file, why it is refused, and words of the message without which nobody could act on it.
struct Case {
    why: &'static str,
    file: Vec<u8>,
    says: &'static [&'static str],
}

fn case(why: &'static str, file: Vec<u8>, says: &'static [&'static str]) -> Case {
    Case { why, file, says }
}

fn model() -> Synthetic {
    Synthetic { layers: 1, ..Synthetic::default() }
}

fn file() -> Vec<u8> {
    model().gguf().unwrap()
}

/// A model that is well formed, with something changed in it.
fn changed(change: impl FnOnce(&mut Metadata, &mut Vec<Tensor>)) -> Vec<u8> {
    let (mut metadata, mut tensors) = (model().metadata(), model().tensors());
    change(&mut metadata, &mut tensors);
    let tensors: Vec<_> = tensors.iter().map(Tensor::data).collect();
    let mut file = Vec::new();
    gguf::write(&mut file, &metadata, &tensors).unwrap();
    file
}

fn with(key: &str, value: Value) -> Vec<u8> {
    changed(|metadata, _| drop(metadata.insert(key.to_owned(), value)))
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// The model's file with bytes replaced after the first place where `name` stands.
fn lying(name: &str, skip: usize, lie: &[u8]) -> Vec<u8> {
    let mut file = file();
    let name = name.as_bytes();
    let at = file.windows(name.len()).position(|window| window == name).expect("it is there");
    let from = at + name.len() + skip;
    file[from..from + lie.len()].copy_from_slice(lie);
    file
}

/// A matrix of the model.
const KEY: &str = "blk.0.attn_k.weight";
/// Where a matrix's fields stand after its name: a count of dimensions, two of them, the type, the offset.
const DIM: usize = 4;
const TYPE: usize = 20;
const OFFSET: usize = 24;

/// Files whose headers contradict themselves or the file.
fn malformed() -> Vec<Case> {
    let whole = file();
    let header = Gguf::parse(whole.as_slice(), whole.len() as u64).unwrap().data_offset as usize;
    let huge = u64::MAX.to_le_bytes();
    let counted = |at: usize, count: u64| {
        let mut file = whole.clone();
        file[at..at + 8].copy_from_slice(&count.to_le_bytes());
        file
    };
    vec![
        case("it is a poem", b"Two roads diverged in a yellow wood".to_vec(), &["magic"]),
        case("it is empty", Vec::new(), &["the file ends"]),
        case("the header is cut off", whole[..header / 2].to_vec(), &["byte", "the file ends"]),
        case("the data is cut off", whole[..whole.len() - 100].to_vec(), &["beyond the file's"]),
        case("something follows", [&whole[..], &[0; 4096]].concat(), &["follow the last tensor"]),
        case("an old version", [&b"GGUF\x01\0\0\0"[..], &whole[8..]].concat(), &["version 1", "2 and 3"]),
        case("the other byte order", [&b"GGUF\0\0\0\x03"[..], &whole[8..]].concat(), &["little-endian"]),
        case("a count of tensors beyond all", counted(8, 1 << 40), &["tensors", "limit"]),
        case("a count of entries beyond all", counted(16, u64::MAX), &["metadata entries", "limit"]),
        case("a key longer than the file", counted(24, u64::MAX), &["bytes of a key", "limit"]),
        case("a text longer than the file", lying("general.name", 4, &huge), &["bytes of text", "limit"]),
        case("a list longer than memory", lying("ggml.tokens", 8, &huge), &["array items", "limit"]),
        case("a key twice", twice(), &["llama.vocab_size", "appears twice"]),
        case("a tensor twice", lying("blk.0.attn_", 0, b"v"), &["blk.0.attn_v.weight", "appears twice"]),
        case("no elements", lying(KEY, DIM, &[0; 8]), &[KEY, "shape"]),
        case("more elements than there are numbers", lying(KEY, DIM, &huge), &[KEY, "shape"]),
        case("an unknown type", lying(KEY, TYPE, &99u32.to_le_bytes()), &[KEY, "element type 99"]),
        case("tensors that overlap", lying(KEY, OFFSET, &32u64.to_le_bytes()), &[KEY, "is next"]),
        case("an offset beyond the file", lying(KEY, OFFSET, &huge), &[KEY, "is next"]),
    ]
}

/// A file in which one key stands twice.
fn twice() -> Vec<u8> {
    let mut file = with("llama.vocab_sizf", Value::U32(1));
    let name = b"llama.vocab_sizf";
    let at = file.windows(name.len()).position(|window| window == name).unwrap();
    file[at..at + name.len()].copy_from_slice(b"llama.vocab_size");
    file
}

/// Well-formed files that hold no model that can be run.
fn unsuitable() -> Vec<Case> {
    let strings = |items: &[&str]| Value::Array(Array::String(items.iter().map(|s| (*s).into()).collect()));
    let spoilt = |name: &str, bad: Vec<u8>| {
        changed(|_, tensors| {
            let tensor = tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
            tensor.data[..bad.len()].copy_from_slice(&bad);
        })
    };
    let retyped = changed(|_, tensors| {
        let tensor = tensors.iter_mut().find(|tensor| tensor.name == KEY).unwrap();
        let elements = tensor.dims.iter().product::<u64>() as usize;
        (tensor.dtype, tensor.data) = (DType::I16, vec![0; elements * 2]);
    });
    let template = |source: &str| with("tokenizer.chat_template", text(source));
    vec![
        case("another architecture", with("general.architecture", text("mamba")), &["mamba", "qwen3"]),
        case("a setting that is not known", with("llama.magic", Value::U32(1)), &["llama.magic"]),
        case("a weight type that is not run", retyped, &[KEY, "I16", "Q8_0"]),
        case(
            "a scale that is no number",
            spoilt(KEY, 0x7e00u16.to_le_bytes().to_vec()),
            &[KEY, "NaN", "infinity"],
        ),
        case(
            "a norm that is infinite",
            spoilt("output_norm.weight", f32::INFINITY.to_le_bytes().to_vec()),
            &["output_norm.weight", "infinity"],
        ),
        case(
            "more layers than tensors",
            with("llama.block_count", Value::U32(2)),
            &["blk.1.attn_norm.weight", "missing"],
        ),
        case(
            "more layers than any model",
            with("llama.block_count", Value::U32(u32::MAX)),
            &["llama.block_count", "not supported"],
        ),
        case(
            "no tokenizer",
            changed(|metadata, _| metadata.retain(|key, _| !key.starts_with("tokenizer."))),
            &["tokenizer.ggml.tokens", "missing"],
        ),
        case("another tokenizer", with("tokenizer.ggml.model", text("t5")), &["t5", "gpt2"]),
        case("a merge of nothing", with("tokenizer.ggml.merges", strings(&["t h", "x"])), &["merge 1"]),
        case("a merge twice", with("tokenizer.ggml.merges", strings(&["t h", "t h"])), &["merge 1"]),
        case("a template that is none", template("{% if %}"), &["chat template"]),
        case(
            "a template of a value in itself",
            template("{% set n = namespace() %}{% set n.x = n %}{{ n }}"),
            &["chat template", "namespace"],
        ),
        case(
            "a template of slices of slices",
            template(
                "{% set n = namespace(x=[1]) %}{% for i in range(60000) %}{% set n.x = n.x[0:] %}{% endfor %}",
            ),
            &["chat template", "work limit"],
        ),
        case(
            "a template of lists in lists",
            template(
                "{% set n = namespace(x=[1]) %}{% for i in range(64) %}{% set n.x = [n.x, n.x] %}{% endfor %}\
                 {{ n.x }}",
            ),
            &["chat template", "work limit"],
        ),
    ]
}

/// Files in the other format.
fn malformed_safetensors() -> Vec<Case> {
    let of = |header: &str, data: usize| {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
    };
    let tensor = |name: &str, dtype: &str, begin: u64, end: u64| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":[2],"data_offsets":[{begin},{end}]}}"#)
    };
    let two = |second: &str| format!("{{{},{second}}}", tensor("a", "F32", 0, 8));
    vec![
        case("a header longer than the limit", [&(1u64 << 60).to_le_bytes()[..], b"{}"].concat(), &["limit"]),
        case("a header longer than the file", [&64u64.to_le_bytes()[..], b"{}"].concat(), &["ends inside"]),
        case("no header", of("[]", 0), &["brace"]),
        case("a header that is cut off", of("{\"a\":", 0), &["byte"]),
        case("tensors that overlap", of(&two(&tensor("b", "F32", 4, 12)), 12), &["\"b\"", "is next"]),
        case("a gap between tensors", of(&two(&tensor("b", "F32", 16, 24)), 24), &["\"b\"", "is next"]),
        case("a name twice", of(&two(&tensor("a", "F32", 8, 16)), 16), &["\"a\"", "appears twice"]),
        case("an unknown type", of(&two(&tensor("b", "F7", 8, 16)), 16), &["\"b\"", "F7"]),
        case(
            "a length that is not the shape's",
            of(&two(&tensor("b", "F32", 8, 12)), 12),
            &["\"b\"", "4 bytes"],
        ),
        case("data beyond the file", of(&two(&tensor("b", "F32", 8, 16)), 8), &["16 bytes of 8"]),
    ]
}

/// What the binary prints; a message that nobody can act on, or another exit code, fails the test.
fn refused(arguments: &[&str], case: &Case) {
    let output = run(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(USAGE), "{}: {message}", case.why);
    let lines: Vec<_> = message.lines().filter(|line| !line.is_empty()).collect();
    assert!(lines.iter().any(|line| line.starts_with("error: ")), "{}: {message}", case.why);
    assert!(lines.iter().any(|line| line.starts_with("hint: ")), "{} has no next step: {message}", case.why);
    for word in case.says {
        assert!(message.contains(word), "{}: {word:?} is not in: {message}", case.why);
    }
}

fn written(directory: &Path, name: &str, case: &Case) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, &case.file).unwrap();
    path
}

/// How many files a directory and those in it hold.
fn files(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[test]
fn running_a_hostile_file_is_refused_with_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_str().unwrap();
    for case in malformed().iter().chain(&unsuitable()) {
        let path = written(dir.path(), "model.gguf", case);
        let path = path.to_str().unwrap();
        let ask = ["run", "--model", path, "--prompt", "hi", "--max-tokens", "1", "--base-path", base];
        refused(&ask, case);
    }
    // The same file, unchanged, answers.
    let path = dir.path().join("model.gguf");
    fs::write(&path, file()).unwrap();
    let path = path.to_str().unwrap();
    let ask = ["run", "--model", path, "--prompt", "hi", "--max-tokens", "1", "--base-path", base];
    let output = run(&ask);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn importing_a_hostile_file_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_str().unwrap();
    let node = NodeProcess::start(dir.path());
    let cases = malformed().into_iter().map(|case| ("model.gguf", case));
    let cases = cases.chain(malformed_safetensors().into_iter().map(|case| ("model.safetensors", case)));
    let stored = || ["blobs", "manifests", "tmp"].map(|part| files(&node.data_dir().models().join(part)));
    let before = stored();
    for (name, case) in cases {
        let path = written(dir.path(), name, &case);
        let path = path.to_str().unwrap();
        let common = ["--name", "x", "--rpc", &node.rpc, "--base-path", base, "--key", "//Bob"];
        refused(&[&["model", "register", path][..], &common].concat(), &case);
    }
    assert_eq!(stored(), before, "a refused file is kept");
}
