//! Import: from files somewhere to blobs in `tmp` and a manifest.

mod pass;
mod walk;

use crate::error::StoreError;
use crate::layout::{Layout, TempFile};
use assay_manifest::canonical::{TransformersFiles, gguf_part_ids, transformers_part_ids};
use assay_manifest::formats::gguf::Gguf;
use assay_manifest::formats::safetensors::Safetensors;
use assay_manifest::{ArtifactKind, Digest32, FileEntry, Manifest, PartIds, RelativePath, TensorEntry};
use pass::Pass;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use walk::{Source, walk};

/// How far an import is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The file that is being read.
    pub path: &'a RelativePath,
    /// Bytes read of all files.
    pub bytes_done: u64,
    /// Bytes of all files.
    pub bytes_total: u64,
}

/// Files of a model in the layout of transformers that have ids of their own.
const PART_FILES: [&str; 4] =
    ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
/// Largest of these files; the largest known `tokenizer.json` has 35 MB.
const PART_BYTES_MAX: u64 = 64 << 20;

pub(crate) fn import(
    layout: &Layout,
    root: &Path,
    kind: ArtifactKind,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(Manifest, Vec<(TempFile, Digest32)>), StoreError> {
    let sources = walk(root)?;
    let bytes_total = sources.iter().map(|source| source.size).sum();
    let mut bytes_done = 0;
    let (mut files, mut blobs, mut model) = (Vec::new(), Vec::new(), Model::default());
    for source in sources {
        let mut on_bytes = |bytes: u64| {
            bytes_done += bytes;
            progress(Progress { path: &source.path, bytes_done, bytes_total });
        };
        let (entry, temp) = match kind {
            ArtifactKind::Model => {
                import_file(layout, &source, &mut on_bytes, |pass| model.read(&source, pass))?
            }
            ArtifactKind::Dataset => import_file(layout, &source, &mut on_bytes, |_| Ok(()))?,
        };
        blobs.push((temp, entry.blake3));
        files.push(entry);
    }
    let manifest = match kind {
        ArtifactKind::Model => Manifest::model(files, std::mem::take(&mut model.tensors), model.part_ids()?)?,
        ArtifactKind::Dataset => Manifest::dataset(files)?,
    };
    Ok((manifest, blobs))
}

/// Copies one file to `tmp`, hashing it, while `look` reads along what it wants to know of the content.
fn import_file(
    layout: &Layout,
    source: &Source,
    on_bytes: &mut dyn FnMut(u64),
    look: impl FnOnce(&mut Pass<'_>) -> Result<(), StoreError>,
) -> Result<(FileEntry, TempFile), StoreError> {
    let from = &source.location;
    let file = File::open(from).map_err(StoreError::io("opening", from))?;
    let (temp, copy) = layout.create_temp()?;
    let hashes = pass::run(file, &copy, on_bytes, |pass| {
        look(pass)?;
        pass.skip_rest().map_err(StoreError::io("importing", from))
    })?;
    if hashes.size != source.size {
        return Err(StoreError::SourceChanged(from.clone()));
    }
    copy.sync_all().map_err(StoreError::io("syncing", temp.path()))?;
    let pass::Hashes { size, sha256, blake3 } = hashes;
    Ok((FileEntry { path: source.path.clone(), size, sha256, blake3 }, temp))
}

/// What the files of a model say, collected file by file.
#[derive(Default)]
struct Model {
    tensors: Vec<TensorEntry>,
    /// From the one GGUF file, of all shards, that names an architecture.
    gguf: Option<PartIds>,
    has_safetensors: bool,
    parts: BTreeMap<String, Vec<u8>>,
}

impl Model {
    fn read(&mut self, source: &Source, pass: &mut Pass<'_>) -> Result<(), StoreError> {
        let name = source.path.file_name();
        if name.ends_with(".gguf") {
            self.read_gguf(source, pass)
        } else if name.ends_with(".safetensors") {
            self.read_safetensors(source, pass)
        } else if PART_FILES.contains(&source.path.as_str()) {
            self.read_part(source, pass)
        } else {
            Ok(())
        }
    }

    fn read_gguf(&mut self, source: &Source, pass: &mut Pass<'_>) -> Result<(), StoreError> {
        let path = || source.location.clone();
        let header = Gguf::parse(&mut *pass, source.size);
        let header = header.map_err(|error| StoreError::Gguf { path: path(), source: error })?;
        let parts = gguf_part_ids(&header.metadata);
        if parts != PartIds::default() && self.gguf.replace(parts).is_some() {
            return Err(StoreError::SeveralModels);
        }
        for tensor in header.tensors {
            let blake3 = hash_range(source, pass, tensor.offset, tensor.nbytes)?;
            let (dtype, shape, nbytes) = (tensor.dtype, tensor.shape(), tensor.nbytes);
            self.tensors.push(TensorEntry { name: tensor.name, dtype, shape, nbytes, blake3 });
        }
        Ok(())
    }

    fn read_safetensors(&mut self, source: &Source, pass: &mut Pass<'_>) -> Result<(), StoreError> {
        let path = || source.location.clone();
        let header = Safetensors::parse(&mut *pass, source.size);
        let header = header.map_err(|error| StoreError::Safetensors { path: path(), source: error })?;
        self.has_safetensors = true;
        for tensor in header.tensors {
            let blake3 = hash_range(source, pass, tensor.offset, tensor.nbytes)?;
            let (dtype, shape, nbytes) = (tensor.dtype, tensor.shape, tensor.nbytes);
            self.tensors.push(TensorEntry { name: tensor.name, dtype, shape, nbytes, blake3 });
        }
        Ok(())
    }

    fn read_part(&mut self, source: &Source, pass: &mut Pass<'_>) -> Result<(), StoreError> {
        if source.size > PART_BYTES_MAX {
            return Err(StoreError::PartTooLarge(source.location.clone()));
        }
        let mut bytes = Vec::new();
        let read = pass.take(PART_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(StoreError::io("importing", &source.location))?;
        self.parts.insert(source.path.to_string(), bytes);
        Ok(())
    }

    fn part_ids(&self) -> Result<PartIds, StoreError> {
        let part = |name: &str| self.parts.get(name).map(Vec::as_slice);
        match self.gguf {
            Some(_) if self.has_safetensors => Err(StoreError::SeveralModels),
            Some(parts) => Ok(parts),
            None => Ok(transformers_part_ids(&TransformersFiles {
                config: part("config.json"),
                tokenizer: part("tokenizer.json"),
                tokenizer_config: part("tokenizer_config.json"),
                chat_template: part("chat_template.jinja"),
            })?),
        }
    }
}

/// BLAKE3 of a tensor's data; tensors come in the order of the file.
fn hash_range(
    source: &Source,
    pass: &mut Pass<'_>,
    offset: u64,
    nbytes: u64,
) -> Result<Digest32, StoreError> {
    match pass.skip_to(offset).and_then(|()| pass.blake3(nbytes)) {
        Ok(digest) => Ok(digest),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(StoreError::SourceChanged(source.location.clone()))
        }
        Err(error) => Err(StoreError::io("importing", &source.location)(error)),
    }
}
