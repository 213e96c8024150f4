//! Import: from files somewhere to blobs in `tmp` and a manifest. What a download brought is read by the same rules,
//! where it lies.

mod pass;
mod walk;

use crate::error::StoreError;
use crate::layout::{Layout, TempFile};
use crate::partial::PartialReader;
use assay_manifest::canonical::{TransformersFiles, gguf_part_ids, transformers_part_ids};
use assay_manifest::formats::gguf::Gguf;
use assay_manifest::formats::safetensors::Safetensors;
use assay_manifest::{ArtifactKind, Digest32, FileEntry, Manifest, PartIds, RelativePath, TensorEntry};
use pass::Pass;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use walk::walk;

pub(crate) use walk::Source;

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
    let mut blobs = Vec::new();
    let manifest = read_all(walk(root)?, kind, progress, &mut |source, look, on_bytes| {
        let (entry, temp) = import_file(layout, source, on_bytes, look)?;
        blobs.push((temp, entry.blake3));
        Ok(entry)
    })?;
    Ok((manifest, blobs))
}

/// The manifest that files make which lie in the store already, whatever anybody said of them.
pub(crate) fn recompute(
    sources: Vec<Source>,
    kind: ArtifactKind,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Manifest, StoreError> {
    read_all(sources, kind, progress, &mut |source, look, on_bytes| {
        let file = open(source)?;
        let hashes = read_file(source, file, None, on_bytes, look)?;
        Ok(entry(source, hashes))
    })
}

/// What reads along while a file is hashed.
type Look<'a> = &'a mut dyn FnMut(&mut Pass<'_>) -> Result<(), StoreError>;
/// Reads one file.
type ReadFile<'a> =
    &'a mut dyn FnMut(&Source, Look<'_>, &mut dyn FnMut(u64)) -> Result<FileEntry, StoreError>;

fn read_all(
    sources: Vec<Source>,
    kind: ArtifactKind,
    progress: &mut dyn FnMut(Progress<'_>),
    read_file: ReadFile<'_>,
) -> Result<Manifest, StoreError> {
    let bytes_total = sources.iter().map(|source| source.size).sum();
    let mut bytes_done = 0;
    let (mut files, mut model) = (Vec::new(), Model::default());
    for source in sources {
        let mut on_bytes = |bytes: u64| {
            bytes_done += bytes;
            progress(Progress { path: &source.path, bytes_done, bytes_total });
        };
        let mut look = |pass: &mut Pass<'_>| match kind {
            ArtifactKind::Model => model.read(&source, pass),
            ArtifactKind::Dataset => Ok(()),
        };
        files.push(read_file(&source, &mut look, &mut on_bytes)?);
    }
    Ok(match kind {
        ArtifactKind::Model => Manifest::model(files, std::mem::take(&mut model.tensors), model.part_ids()?)?,
        ArtifactKind::Dataset => Manifest::dataset(files)?,
    })
}

/// Copies one file to `tmp`, hashing it, while `look` reads along what it wants to know of the content.
fn import_file(
    layout: &Layout,
    source: &Source,
    on_bytes: &mut dyn FnMut(u64),
    look: Look<'_>,
) -> Result<(FileEntry, TempFile), StoreError> {
    let file = open(source)?;
    let (temp, copy) = layout.create_temp()?;
    let hashes = read_file(source, file, Some(&copy), on_bytes, look)?;
    copy.sync_all().map_err(StoreError::io("syncing", temp.path()))?;
    Ok((entry(source, hashes), temp))
}

fn open(source: &Source) -> Result<Box<dyn Read>, StoreError> {
    if let Some(download) = &source.download {
        return Ok(Box::new(PartialReader::new(download)));
    }
    let file = File::open(&source.location).map_err(StoreError::io("opening", &source.location))?;
    Ok(Box::new(file))
}

fn read_file(
    source: &Source,
    file: Box<dyn Read>,
    copy: Option<&File>,
    on_bytes: &mut dyn FnMut(u64),
    look: Look<'_>,
) -> Result<pass::Hashes, StoreError> {
    let hashes = pass::run(file, copy, on_bytes, |pass| {
        look(pass)?;
        pass.skip_rest().map_err(StoreError::io("importing", &source.location))
    })?;
    if hashes.size == source.size {
        Ok(hashes)
    } else {
        Err(StoreError::SourceChanged(source.location.clone()))
    }
}

fn entry(source: &Source, hashes: pass::Hashes) -> FileEntry {
    let pass::Hashes { size, sha256, blake3 } = hashes;
    FileEntry { path: source.path.clone(), size, sha256, blake3 }
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
