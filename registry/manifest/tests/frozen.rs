//! Encodings that never change: a hash of a sample of each, in `frozen.txt`.
//!
//! A line that differs means that ids, signatures and log leaves made before no longer hold. A new encoding
//! gets a new version and a new line; it never replaces one.

use assay_manifest::canonical::{TransformersFiles, gguf_part_ids, transformers_part_ids};
use assay_manifest::formats::{DType, gguf, safetensors};
use assay_manifest::lineage::{Edge, EdgeKind, Evidence};
use assay_manifest::log::{Derivation, LogEntry, Prior, Priority, Registration, StatusEntry, Subject};
use assay_manifest::merkle::{ConsistencyProof, Frontier, InclusionProof, leaf_hash};
use assay_manifest::status::{Reason, Status, StatusKind, StatusSubject};
use assay_manifest::{
    ArtifactId, ConfigId, Digest32, FileEntry, Manifest, ModelParts, PartIds, SpecId, TaggedHash, TemplateId,
    TensorEntry, TokenizerId, WeightsId, sha256,
};
use codec::Encode;
use std::collections::BTreeMap;

fn digest(byte: u8) -> Digest32 {
    Digest32::from_bytes([byte; 32])
}

fn parts() -> PartIds {
    PartIds {
        config_id: ConfigId::from_bytes([3; 32]),
        tokenizer_id: TokenizerId::from_bytes([4; 32]),
        template_id: TemplateId::from_bytes([5; 32]),
    }
}

fn model_parts() -> ModelParts {
    ModelParts {
        artifact_id: ArtifactId::from_bytes([1; 32]),
        weights_id: WeightsId::from_bytes([2; 32]),
        config_id: parts().config_id,
        tokenizer_id: parts().tokenizer_id,
        template_id: parts().template_id,
    }
}

fn file(path: &str) -> FileEntry {
    FileEntry { path: path.parse().unwrap(), size: 1234, sha256: digest(6), blake3: digest(7) }
}

fn tensor(name: &str) -> TensorEntry {
    let (dtype, shape) = (DType::Q8_0, vec![2, 32]);
    TensorEntry { name: name.to_owned(), dtype, shape, nbytes: 68, blake3: digest(8) }
}

fn edge() -> Edge {
    Edge {
        kind: EdgeKind::QuantizedFrom,
        child: ArtifactId::from_bytes([1; 32]),
        parent: ArtifactId::from_bytes([2; 32]),
        evidence: Evidence::Exact,
        recipe: digest(9),
    }
}

fn registration(subject: Subject) -> Vec<u8> {
    let registration = Registration {
        account: [10; 32],
        height: 77,
        subject,
        size_bytes: 1 << 33,
        name: "tiny-reader".parse().unwrap(),
        license: "Apache-2.0".to_owned(),
    };
    LogEntry::Registered(registration).to_bytes()
}

fn log_model(spec_id: SpecId) -> Vec<u8> {
    registration(Subject::Model { parts: model_parts(), spec_id })
}

fn priority() -> Priority {
    Priority {
        account: [10; 32],
        height: 77,
        artifact_id: ArtifactId::from_bytes([1; 32]),
        salt: digest(11),
        committed_at: 60,
        prior_index: 5,
    }
}

fn prior() -> Prior {
    Prior { account: [10; 32], height: 60, commitment: priority().commitment() }
}

fn status() -> Vec<u8> {
    let subject = StatusSubject::Edge { child: ArtifactId::from_bytes([1; 32]), id: edge().id() };
    let status = Status { subject, kind: StatusKind::Superseded { by: digest(12) }, reason: Reason::Mistake };
    LogEntry::Stated(StatusEntry { account: [10; 32], height: 77, status }).to_bytes()
}

fn gguf_metadata() -> gguf::Metadata {
    let text = |text: &str| gguf::Value::String(text.to_owned());
    let strings = gguf::Array::String(vec!["a".to_owned(), "b".to_owned()]);
    gguf::Metadata::from([
        ("general.architecture".to_owned(), text("llama")),
        ("llama.block_count".to_owned(), gguf::Value::U32(2)),
        ("llama.rope.freq_base".to_owned(), gguf::Value::F32(1e4)),
        ("tokenizer.chat_template".to_owned(), text("{{x}}")),
        ("tokenizer.ggml.scores".to_owned(), gguf::Value::Array(gguf::Array::F32(vec![0.5, -1.0]))),
        ("tokenizer.ggml.tokens".to_owned(), gguf::Value::Array(strings)),
    ])
}

fn gguf_file() -> Vec<u8> {
    let tensor = gguf::TensorData { name: "t", dtype: DType::Q8_0, dims: &[32, 2], data: &[1; 68] };
    let mut bytes = Vec::new();
    gguf::write(&mut bytes, &gguf_metadata(), &[tensor]).unwrap();
    bytes
}

fn safetensors_file() -> Vec<u8> {
    let metadata = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let tensor = safetensors::TensorData { name: "t", dtype: DType::F32, shape: &[1, 2], data: &[1; 8] };
    let mut bytes = Vec::new();
    safetensors::write(&mut bytes, &metadata, &[tensor]).unwrap();
    bytes
}

fn part_bytes(parts: &PartIds) -> Vec<u8> {
    [parts.config_id.encode(), parts.tokenizer_id.encode(), parts.template_id.encode()].concat()
}

fn transformers_parts() -> PartIds {
    let files = TransformersFiles {
        config: Some(br#"{"rope_theta":1e4,"layers":[1,true,null]}"#),
        tokenizer: Some(br#"{"model":{"vocab":{"a":0}}}"#),
        tokenizer_config: Some(br#"{"chat_template":"{{x}}","eos_token":"</s>"}"#),
        chat_template: None,
    };
    transformers_part_ids(&files).unwrap()
}

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let leaves: Vec<_> = (0u8..7).map(|n| leaf_hash(&[n])).collect();
    let mut frontier = Frontier::new();
    for leaf in &leaves {
        frontier.append(*leaf);
    }
    let model =
        Manifest::model(vec![file("b/c"), file("a")], vec![tensor("y"), tensor("x")], parts()).unwrap();
    let dataset = Manifest::dataset(vec![file("a")]).unwrap();
    let tagged = TaggedHash::new("assay/test/1").u8(1).u16(2).u32(3).u64(4).u128(5).var(b"v").fixed(b"f");
    let derivation = Derivation { account: [10; 32], height: 77, edge: edge() };
    vec![
        ("tagged_hash", tagged.finish().encode()),
        ("merkle_frontier", frontier.encode()),
        ("merkle_inclusion_proof", InclusionProof::of(&leaves, 4).unwrap().encode()),
        ("merkle_consistency_proof", ConsistencyProof::of(&leaves, 5).unwrap().encode()),
        ("model_parts", model_parts().encode()),
        ("model_id", model_parts().model_id().encode()),
        ("file_leaf", file("a").leaf_hash().encode()),
        ("tensor_leaf", tensor("x").leaf_hash().encode()),
        ("manifest_model", model.to_bytes()),
        ("manifest_model_json", serde_json::to_vec(&model).unwrap()),
        ("manifest_dataset", dataset.to_bytes()),
        ("gguf_part_ids", part_bytes(&gguf_part_ids(&gguf_metadata()))),
        ("transformers_part_ids", part_bytes(&transformers_parts())),
        ("edge_statement", edge().statement()),
        ("edge_id", edge().id().encode()),
        ("edge_scale", edge().encode()),
        ("log_model", log_model(SpecId::ZERO)),
        ("log_dataset", registration(Subject::Dataset(ArtifactId::from_bytes([1; 32])))),
        ("log_edge", LogEntry::Derived(derivation).to_bytes()),
        ("gguf_file", gguf_file()),
        ("safetensors_file", safetensors_file()),
        ("log_runnable", log_model(SpecId::from_bytes([13; 32]))),
        ("prior_commitment", priority().commitment().encode()),
        ("log_prior", LogEntry::Committed(prior()).to_bytes()),
        ("log_priority", LogEntry::Opened(priority()).to_bytes()),
        ("log_status", status()),
    ]
}

#[test]
fn frozen_encodings_have_not_changed() {
    let actual: Vec<_> = samples().iter().map(|(name, bytes)| format!("{name} {}", sha256(bytes))).collect();
    let frozen: Vec<_> = include_str!("frozen.txt").lines().collect();
    for (actual, frozen) in actual.iter().zip(&frozen) {
        assert_eq!(actual, frozen);
    }
    assert_eq!(actual.len(), frozen.len(), "a line for each sample");
}
