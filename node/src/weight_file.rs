//! An open file of weights: read at any place, from several threads, without a position of its own.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use assay_engine::WeightSource;
use assay_manifest::canonical::gguf_part_ids;
use assay_manifest::formats::gguf::{Gguf, TensorInfo};
use assay_manifest::{Digest32, Manifest, TensorEntry};

/// Bytes that are hashed at once: large against the cost of a call, small against the processor's cache.
const CHUNK_BYTES: usize = 1 << 20;

/// The file, with its size when it was opened.
pub struct WeightFile {
    file: File,
    size_bytes: u64,
}

impl WeightFile {
    /// Wraps an open file.
    ///
    /// # Errors
    /// When its size cannot be told.
    pub fn new(file: File) -> io::Result<Self> {
        Ok(Self { size_bytes: file.metadata()?.len(), file })
    }

    /// The file itself, to be read in another process.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Reads from the beginning.
    pub fn reader(&self) -> impl Read + '_ {
        BufReader::new(Reader { file: &self.file, at: 0 })
    }

    /// Shows a range of the file in pieces, in order.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read(&self, range: Range<u64>, mut see: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut at = range.start;
        while at < range.end {
            let len = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let chunk = &mut buffer[..len];
            self.file.read_exact_at(chunk, at)?;
            see(chunk);
            at += len as u64;
        }
        Ok(())
    }

    /// A tensor's entry in a manifest; `see` is shown its bytes, too.
    ///
    /// # Errors
    /// What the file system says.
    pub fn entry(&self, tensor: TensorInfo, mut see: impl FnMut(&[u8])) -> io::Result<TensorEntry> {
        let mut hasher = blake3::Hasher::new();
        self.read(tensor.offset..tensor.offset + tensor.nbytes, |bytes| {
            see(bytes);
            hasher.update(bytes);
        })?;
        let blake3 = Digest32::from_bytes(hasher.finalize().into());
        let (dtype, shape, nbytes) = (tensor.dtype, tensor.shape(), tensor.nbytes);
        Ok(TensorEntry { name: tensor.name, dtype, shape, nbytes, blake3 })
    }

    /// The manifest of a model with everything that the content decides computed anew: tensors and parts. The hashes
    /// of whole files are taken over. `read` is called now and again.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn recomputed(&self, manifest: &Manifest, read: &mut dyn FnMut()) -> Result<Manifest, String> {
        let header = Gguf::parse(self.reader(), self.size_bytes).map_err(|error| error.to_string())?;
        let parts = gguf_part_ids(&header.metadata);
        let tensors = header.tensors.into_iter().map(|tensor| self.entry(tensor, |_| read()));
        let tensors = tensors.collect::<Result<_, _>>().map_err(|error: io::Error| error.to_string())?;
        Manifest::model(manifest.files().to_vec(), tensors, parts).map_err(|error| error.to_string())
    }
}

impl WeightSource for WeightFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

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
