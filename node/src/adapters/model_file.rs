//! The one GGUF file of a model that can be run: its content, and the ids that follow from it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use assay_engine::{WeightSource, spec_of};
use assay_manifest::canonical::gguf_part_ids;
use assay_manifest::formats::gguf::{Gguf, TensorInfo};
use assay_manifest::{Digest32, FileEntry, Manifest, SpecId, TensorEntry};
use assay_store::Store;

/// Bytes that are hashed at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The file of a manifest that an engine can read.
pub fn runnable_file(manifest: &Manifest) -> Option<&FileEntry> {
    let mut files = manifest.files().iter().filter(|file| file.path.as_str().ends_with(".gguf"));
    match (files.next(), files.next()) {
        (Some(file), None) => Some(file),
        _ => None,
    }
}

/// The definitions that executions of the model follow, by the names and types of its tensors; nothing where no
/// engine runs it.
pub fn spec_of_file(manifest: &Manifest) -> Option<SpecId> {
    runnable_file(manifest)?;
    spec_of(manifest.tensors().iter().map(|tensor| (tensor.name.as_str(), tensor.dtype)))
}

/// A file of the store whose content was verified.
pub struct ModelFile {
    file: File,
    size_bytes: u64,
}

impl ModelFile {
    /// Opens the file of a model after its content was found to be what the manifest says.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn open(store: &Store, manifest: &Manifest) -> Result<Self, String> {
        let file = runnable_file(manifest).ok_or("only models in a single GGUF file can be run")?;
        let opened = store.open_verified(&file.blake3).map_err(|error| error.to_string())?;
        Ok(Self { file: opened, size_bytes: file.size })
    }

    /// The manifest with everything that the content decides computed anew: tensors and parts. The hashes of
    /// the files were checked when the file was opened.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn recomputed(&self, manifest: &Manifest) -> Result<Manifest, String> {
        let reader = BufReader::new(Reader { file: &self.file, at: 0 });
        let header = Gguf::parse(reader, self.size_bytes).map_err(|error| error.to_string())?;
        let parts = gguf_part_ids(&header.metadata);
        let tensors = header.tensors.into_iter().map(|tensor| self.entry(tensor)).collect::<Result<_, _>>();
        let tensors = tensors.map_err(|error: io::Error| error.to_string())?;
        Manifest::model(manifest.files().to_vec(), tensors, parts).map_err(|error| error.to_string())
    }

    fn entry(&self, tensor: TensorInfo) -> io::Result<TensorEntry> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; CHUNK_BYTES];
        let (mut at, end) = (tensor.offset, tensor.offset + tensor.nbytes);
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            self.file.read_exact_at(&mut buffer[..len], at)?;
            hasher.update(&buffer[..len]);
            at += len as u64;
        }
        let blake3 = Digest32::from_bytes(hasher.finalize().into());
        let (dtype, shape, nbytes) = (tensor.dtype, tensor.shape(), tensor.nbytes);
        Ok(TensorEntry { name: tensor.name, dtype, shape, nbytes, blake3 })
    }
}

impl WeightSource for ModelFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// Reads from the beginning without moving the file's own position.
struct Reader<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read_at(buffer, self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}
