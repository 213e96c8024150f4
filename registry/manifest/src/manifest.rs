//! The manifest: which files and tensors an artifact consists of, and the ids that follow from them.

use crate::canonical::PartIds;
use crate::encoding::{DecodeError, Reader, Writer};
use crate::formats::{DType, TENSOR_NAME_BYTES_MAX};
use crate::hash::{Digest32, sha256};
use crate::ids::{ArtifactId, ConfigId, ModelId, ModelParts, TemplateId, TokenizerId, WeightsId};
use crate::merkle;
use crate::path::{PATH_BYTES_MAX, RelativePath};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileEntry {
    /// Where it stands.
    pub path: RelativePath,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: Digest32,
    /// BLAKE3 of the content, by which it is stored and fetched.
    pub blake3: Digest32,
}

/// A tensor of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TensorEntry {
    /// The name.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first, whatever the container's order.
    pub shape: Vec<u64>,
    /// Length of the data in bytes.
    pub nbytes: u64,
    /// BLAKE3 of the data.
    pub blake3: Digest32,
}

/// What an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactKind {
    /// Weights, with what is needed to run them.
    Model,
    /// Data.
    Dataset,
}

/// A checked manifest: entries are sorted, and no two can be taken for one another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Json", into = "Json")]
pub struct Manifest {
    kind: ArtifactKind,
    files: Vec<FileEntry>,
    tensors: Vec<TensorEntry>,
    parts: PartIds,
}

/// Why entries do not make a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// No file.
    #[error("checking a manifest: no files")]
    NoFiles,
    /// A model without tensors.
    #[error("checking a manifest: a model without tensors")]
    NoTensors,
    /// A dataset with tensors or parts of a model.
    #[error("checking a manifest: a dataset with parts of a model")]
    DatasetWithModelParts,
    /// Above a limit.
    #[error("checking a manifest: too many files, tensors or dimensions, or too long a name")]
    Limit,
    /// Two paths agree but for case, or one names a directory of the other.
    #[error("checking a manifest: paths {0} and {1} collide")]
    PathCollision(RelativePath, RelativePath),
    /// Two tensors have this name.
    #[error("checking a manifest: tensor {0:?} appears twice")]
    DuplicateTensor(String),
    /// A tensor's length does not follow from its shape and type.
    #[error("checking a manifest: tensor {0:?} does not have the size of its shape")]
    TensorSize(String),
    /// Sizes overflow.
    #[error("checking a manifest: sizes overflow")]
    Overflow,
    /// The JSON form states ids that do not follow from its entries, or another version.
    #[error("checking a manifest: its ids do not follow from its entries")]
    WrongIds,
}

/// Most files of an artifact; bounds memory, the largest published datasets have about this many.
pub const FILES_MAX: u32 = 1 << 20;
/// Most tensors of an artifact, all shards together.
pub const TENSORS_MAX: u32 = 1 << 20;
/// Most dimensions of a tensor; the safetensors parser's limit.
const DIMS_MAX: u32 = 16;
/// First byte of the canonical form.
const VERSION: u8 = 1;
const FILE_TAG: &[u8] = b"assay/file/1\0";
const TENSOR_TAG: &[u8] = b"assay/tensor/1\0";

impl FileEntry {
    fn write(&self, writer: Writer) -> Writer {
        writer.str(self.path.as_str()).u64(self.size).digest(&self.sha256).digest(&self.blake3)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let path = reader.str(PATH_BYTES_MAX)?.parse().map_err(|_| reader.invalid("path"))?;
        Ok(Self { path, size: reader.u64()?, sha256: reader.digest()?, blake3: reader.digest()? })
    }

    /// The leaf of `artifact_id`'s tree: path, size, SHA-256, BLAKE3.
    pub fn leaf_hash(&self) -> Digest32 {
        merkle::leaf_hash(&self.write(Writer::new().fixed(FILE_TAG)).finish())
    }
}

impl TensorEntry {
    fn write(&self, writer: Writer) -> Writer {
        let writer = writer.str(&self.name).str(self.dtype.name());
        writer.list(&self.shape, |writer, dim| writer.u64(*dim)).digest(&self.blake3).u64(self.nbytes)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = reader.str(TENSOR_NAME_BYTES_MAX as u32)?.to_owned();
        let dtype = reader.str(16)?.parse().map_err(|_| reader.invalid("element type"))?;
        let shape = reader.list(DIMS_MAX, Reader::u64)?;
        Ok(Self { name, dtype, shape, blake3: reader.digest()?, nbytes: reader.u64()? })
    }

    /// The leaf of `weights_id`'s tree: name, element type, shape, BLAKE3, length.
    pub fn leaf_hash(&self) -> Digest32 {
        merkle::leaf_hash(&self.write(Writer::new().fixed(TENSOR_TAG)).finish())
    }

    fn check(&self) -> Result<(), ManifestError> {
        let dims = u32::try_from(self.shape.len()).unwrap_or(u32::MAX);
        if self.name.is_empty() || self.name.len() > TENSOR_NAME_BYTES_MAX || dims > DIMS_MAX {
            return Err(ManifestError::Limit);
        }
        match self.dtype.nbytes_of_shape(&self.shape) {
            Some(nbytes) if nbytes == self.nbytes => Ok(()),
            _ => Err(ManifestError::TensorSize(self.name.clone())),
        }
    }
}

impl ArtifactKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Model => 0,
            Self::Dataset => 1,
        }
    }
}

impl Manifest {
    /// Sorts and checks a model's entries.
    ///
    /// # Errors
    /// When there are none or too many, two collide, or a size is wrong.
    pub fn model(
        files: Vec<FileEntry>,
        tensors: Vec<TensorEntry>,
        parts: PartIds,
    ) -> Result<Self, ManifestError> {
        Self { kind: ArtifactKind::Model, files, tensors, parts }.checked()
    }

    /// Sorts and checks a dataset's entries.
    ///
    /// # Errors
    /// When there are none or too many, or two collide.
    pub fn dataset(files: Vec<FileEntry>) -> Result<Self, ManifestError> {
        let (tensors, parts) = (Vec::new(), PartIds::default());
        Self { kind: ArtifactKind::Dataset, files, tensors, parts }.checked()
    }

    fn checked(mut self) -> Result<Self, ManifestError> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        self.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        if self.files.len() > FILES_MAX as usize || self.tensors.len() > TENSORS_MAX as usize {
            return Err(ManifestError::Limit);
        }
        match self.kind {
            _ if self.files.is_empty() => return Err(ManifestError::NoFiles),
            ArtifactKind::Model if self.tensors.is_empty() => return Err(ManifestError::NoTensors),
            ArtifactKind::Dataset if !self.tensors.is_empty() || self.parts != PartIds::default() => {
                return Err(ManifestError::DatasetWithModelParts);
            }
            _ => {}
        }
        check_paths(&self.files)?;
        let sizes = self.files.iter().map(|file| file.size);
        sizes.reduce(u64::saturating_add).filter(|sum| *sum < u64::MAX).ok_or(ManifestError::Overflow)?;
        for tensor in &self.tensors {
            tensor.check()?;
        }
        match self.tensors.array_windows().find(|[a, b]| a.name == b.name) {
            Some([twice, _]) => Err(ManifestError::DuplicateTensor(twice.name.clone())),
            None => Ok(self),
        }
    }

    /// Model or dataset.
    pub const fn kind(&self) -> ArtifactKind {
        self.kind
    }

    /// Files, sorted by path.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Tensors, sorted by name; none for a dataset.
    pub fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    /// Ids of configuration, tokenizer and template; zero for a dataset.
    pub const fn parts(&self) -> &PartIds {
        &self.parts
    }

    /// Sum of the files' sizes.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }

    /// The primary id: RFC 9162 root over the files sorted by path.
    pub fn artifact_id(&self) -> ArtifactId {
        let leaves: Vec<_> = self.files.iter().map(FileEntry::leaf_hash).collect();
        ArtifactId::from_digest(merkle::root(&leaves))
    }

    /// The id of the weights alone: RFC 9162 root over the tensors sorted by name; zero for a dataset.
    pub fn weights_id(&self) -> WeightsId {
        if self.tensors.is_empty() {
            return WeightsId::ZERO;
        }
        let leaves: Vec<_> = self.tensors.iter().map(TensorEntry::leaf_hash).collect();
        WeightsId::from_digest(merkle::root(&leaves))
    }

    /// Everything that a model's id is made from; none for a dataset.
    pub fn model_parts(&self) -> Option<ModelParts> {
        (self.kind == ArtifactKind::Model).then(|| ModelParts {
            artifact_id: self.artifact_id(),
            weights_id: self.weights_id(),
            config_id: self.parts.config_id,
            tokenizer_id: self.parts.tokenizer_id,
            template_id: self.parts.template_id,
        })
    }

    /// The id that jobs name a model by; none for a dataset.
    pub fn model_id(&self) -> Option<ModelId> {
        self.model_parts().map(|parts| parts.model_id())
    }

    /// The subject digest of OpenSSF Model Signing v1.0: SHA-256 over the files' raw SHA-256 digests in
    /// order of their names. It does not bind the names.
    pub fn oms_digest(&self) -> Digest32 {
        let digests: Vec<u8> = self.files.iter().flat_map(|file| *file.sha256.as_bytes()).collect();
        sha256(&digests)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        Writer::new()
            .u8(VERSION)
            .u8(self.kind.byte())
            .list(&self.files, |writer, file| file.write(writer))
            .list(&self.tensors, |writer, tensor| tensor.write(writer))
            .digest(&self.parts.config_id.digest())
            .digest(&self.parts.tokenizer_id.digest())
            .digest(&self.parts.template_id.digest())
            .finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// When they are not exactly the canonical bytes of a checked manifest.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(reader.invalid("manifest version"));
        }
        let kind = match reader.u8()? {
            0 => ArtifactKind::Model,
            1 => ArtifactKind::Dataset,
            _ => return Err(reader.invalid("manifest kind")),
        };
        let files = reader.list(FILES_MAX, FileEntry::read)?;
        let tensors = reader.list(TENSORS_MAX, TensorEntry::read)?;
        let parts = PartIds {
            config_id: ConfigId::from_digest(reader.digest()?),
            tokenizer_id: TokenizerId::from_digest(reader.digest()?),
            template_id: TemplateId::from_digest(reader.digest()?),
        };
        let invalid = reader.invalid("manifest");
        reader.finish()?;
        let sorted =
            files.is_sorted_by(|a, b| a.path < b.path) && tensors.is_sorted_by(|a, b| a.name < b.name);
        match (Self { kind, files, tensors, parts }).checked() {
            Ok(manifest) if sorted => Ok(manifest),
            _ => Err(invalid),
        }
    }
}

/// Paths, sorted, must differ in more than case, and none may be a directory of another.
fn check_paths(files: &[FileEntry]) -> Result<(), ManifestError> {
    let mut seen = BTreeMap::new();
    for file in files {
        if let Some(other) = seen.insert(file.path.folded(), &file.path) {
            return Err(ManifestError::PathCollision(other.clone(), file.path.clone()));
        }
    }
    for (folded, path) in &seen {
        let mut directories = folded.match_indices('/').filter_map(|(at, _)| folded.get(..at));
        if let Some(other) = directories.find_map(|directory| seen.get(directory)) {
            return Err(ManifestError::PathCollision((*other).clone(), (*path).clone()));
        }
    }
    Ok(())
}

/// The JSON form: the entries, and the ids that follow from them for whoever reads along.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json {
    version: u8,
    kind: ArtifactKind,
    artifact_id: ArtifactId,
    weights_id: WeightsId,
    parts: PartIds,
    files: Vec<FileEntry>,
    tensors: Vec<TensorEntry>,
}

impl From<Manifest> for Json {
    fn from(manifest: Manifest) -> Self {
        Self {
            version: VERSION,
            kind: manifest.kind,
            artifact_id: manifest.artifact_id(),
            weights_id: manifest.weights_id(),
            parts: manifest.parts,
            files: manifest.files,
            tensors: manifest.tensors,
        }
    }
}

impl TryFrom<Json> for Manifest {
    type Error = ManifestError;

    fn try_from(json: Json) -> Result<Self, ManifestError> {
        let Json { version, kind, artifact_id, weights_id, parts, files, tensors } = json;
        let manifest = Self { kind, files, tensors, parts }.checked()?;
        if (version, artifact_id, weights_id) != (VERSION, manifest.artifact_id(), manifest.weights_id()) {
            return Err(ManifestError::WrongIds);
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(path: &str) -> FileEntry {
        let digest = sha256(path.as_bytes());
        FileEntry { path: path.parse().unwrap(), size: 3, sha256: digest, blake3: digest }
    }

    fn tensor(name: &str) -> TensorEntry {
        let blake3 = sha256(name.as_bytes());
        TensorEntry { name: name.to_owned(), dtype: DType::F32, shape: vec![2, 3], nbytes: 24, blake3 }
    }

    fn model(files: &[&str], tensors: &[&str]) -> Result<Manifest, ManifestError> {
        let tensors = tensors.iter().map(|name| tensor(name)).collect();
        Manifest::model(files.iter().map(|path| file(path)).collect(), tensors, PartIds::default())
    }

    #[test]
    fn the_order_of_entries_does_not_change_the_ids() {
        let a = model(&["b", "a", "c/d"], &["y", "x"]).unwrap();
        let b = model(&["c/d", "a", "b"], &["x", "y"]).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.artifact_id(), b.artifact_id());
        assert_eq!(a.size_bytes(), 9);
    }

    #[test]
    fn the_weights_id_ignores_files_and_the_artifact_id_ignores_tensors() {
        let base = model(&["a"], &["x", "y"]).unwrap();
        let other_file = model(&["b"], &["x", "y"]).unwrap();
        let other_tensor = model(&["a"], &["x", "z"]).unwrap();
        assert_eq!(base.weights_id(), other_file.weights_id());
        assert_ne!(base.artifact_id(), other_file.artifact_id());
        assert_ne!(base.weights_id(), other_tensor.weights_id());
        assert_eq!(base.artifact_id(), other_tensor.artifact_id());
        assert_ne!(base.model_id(), other_tensor.model_id());
    }

    #[test]
    fn every_field_of_an_entry_changes_its_leaf() {
        let base = file("a");
        for other in [
            FileEntry { path: "b".parse().unwrap(), ..base.clone() },
            FileEntry { size: 4, ..base.clone() },
            FileEntry { sha256: Digest32::ZERO, ..base.clone() },
            FileEntry { blake3: Digest32::ZERO, ..base.clone() },
        ] {
            assert_ne!(base.leaf_hash(), other.leaf_hash());
        }
        let base = tensor("x");
        for other in [
            TensorEntry { name: "y".to_owned(), ..base.clone() },
            TensorEntry { dtype: DType::I32, ..base.clone() },
            TensorEntry { shape: vec![3, 2], ..base.clone() },
            TensorEntry { nbytes: 25, ..base.clone() },
            TensorEntry { blake3: Digest32::ZERO, ..base.clone() },
        ] {
            assert_ne!(base.leaf_hash(), other.leaf_hash());
        }
    }

    #[test]
    fn entries_that_can_be_taken_for_one_another_are_refused() {
        for (a, b) in [("a", "a"), ("README", "readme"), ("a", "a/b"), ("A", "a/b"), ("a-", "A-/b/c")] {
            let refused = model(&[a, "zzz", b, "a.x"], &["x"]);
            assert!(matches!(refused, Err(ManifestError::PathCollision(..))), "{a} {b}");
        }
        assert_eq!(model(&["a"], &["x", "x"]), Err(ManifestError::DuplicateTensor("x".to_owned())));
        assert!(model(&["a", "a.b", "ab/c", "ab/d"], &["x"]).is_ok());
    }

    #[test]
    fn a_model_has_files_and_tensors_and_a_dataset_no_tensors() {
        assert_eq!(model(&[], &["x"]), Err(ManifestError::NoFiles));
        assert_eq!(model(&["a"], &[]), Err(ManifestError::NoTensors));
        let dataset = Manifest::dataset(vec![file("a")]).unwrap();
        assert_eq!((dataset.weights_id(), dataset.model_id()), (WeightsId::ZERO, None));
        let mut bytes = model(&["a"], &["x"]).unwrap().to_bytes();
        bytes[1] = ArtifactKind::Dataset.byte();
        assert!(Manifest::from_bytes(&bytes).is_err());
    }

    #[test]
    fn sizes_that_contradict_shapes_or_overflow_are_refused() {
        let wrong = TensorEntry { nbytes: 20, ..tensor("x") };
        let error = Manifest::model(vec![file("a")], vec![wrong], PartIds::default());
        assert_eq!(error, Err(ManifestError::TensorSize("x".to_owned())));
        let huge = |path| FileEntry { size: u64::MAX / 2 + 1, ..file(path) };
        assert_eq!(Manifest::dataset(vec![huge("a"), huge("b")]), Err(ManifestError::Overflow));
    }

    #[test]
    fn bytes_and_json_round_trip() {
        let dataset = Manifest::dataset(vec![file("a"), file("b/c")]).unwrap();
        for manifest in [model(&["b", "a"], &["y", "x"]).unwrap(), dataset] {
            assert_eq!(Manifest::from_bytes(&manifest.to_bytes()), Ok(manifest.clone()));
            let json = serde_json::to_string(&manifest).unwrap();
            assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
        }
    }

    #[test]
    fn bytes_that_are_not_canonical_are_refused() {
        let bytes = model(&["b", "a"], &["y", "x"]).unwrap().to_bytes();
        for end in 0..bytes.len() {
            assert!(Manifest::from_bytes(&bytes[..end]).is_err());
        }
        assert!(Manifest::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
        // The second file's path becomes smaller than the first's.
        let mut unsorted = bytes.clone();
        let second = 6 + (4 + 1 + 8 + 64) + 4;
        assert_eq!(unsorted[second], b'b');
        unsorted[second] = b'A';
        assert!(Manifest::from_bytes(&unsorted).is_err());
    }

    #[test]
    fn json_with_other_ids_is_refused() {
        let manifest = model(&["a"], &["x"]).unwrap();
        let mut json: Json = manifest.into();
        json.artifact_id = ArtifactId::ZERO;
        assert_eq!(Manifest::try_from(json), Err(ManifestError::WrongIds));
    }

    #[test]
    fn the_oms_digest_is_over_raw_digests_in_order_of_names() {
        let entry = |path, content: &[u8]| FileEntry { sha256: sha256(content), ..file(path) };
        let manifest = Manifest::dataset(vec![entry("b", b"2"), entry("a", b"1")]).unwrap();
        let expected = sha256(&[*sha256(b"1").as_bytes(), *sha256(b"2").as_bytes()].concat());
        assert_eq!(manifest.oms_digest(), expected);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_or_canonical(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = model(&["a", "b"], &["x", "y"]).unwrap().to_bytes();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(manifest) = Manifest::from_bytes(&bytes) {
                prop_assert_eq!(manifest.to_bytes(), bytes);
            }
        }
    }
}
