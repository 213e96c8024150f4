//! The hashes inside of a blob's BLAKE3, kept beside it, and reading ranges that are checked with them.
//!
//! They stand in post-order, 64 bytes a pair and without a header, so that they can be written while the blob is read
//! once. They follow from the blob: who needs them and finds none makes them.

use crate::encode::{Encoder, Refusal, Source, Unverified};
use crate::error::StoreError;
use crate::layout::Layout;
use crate::ranges::{check_range, tree_of};
use crate::room::Lease;
use assay_manifest::Digest32;
use bao_tree::BaoTree;
use bao_tree::io::sync::outboard_post_order;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes that are read at once while hashes are made.
const READ_BYTES: usize = 1 << 20;

/// A blob of which ranges can be read; while it lives, the blob stays in the store.
#[derive(Debug)]
pub struct BlobReader {
    blake3: Digest32,
    size: u64,
    data: File,
    path: PathBuf,
    hashes: Hashes,
    hashes_path: PathBuf,
    _lease: Lease,
}

/// The stored pairs; a blob of one group has none.
type Hashes = Option<File>;

/// A range with its hashes, chunk by chunk.
#[derive(Debug)]
pub struct EncodedRange<'a> {
    reader: &'a BlobReader,
    encoder: Encoder<'a>,
}

impl BlobReader {
    /// Opens a blob that `lease` keeps in the store, and makes its hashes if they are missing, for which all of it is
    /// read once.
    pub(crate) fn open(layout: &Layout, blake3: &Digest32, lease: Lease) -> Result<Self, StoreError> {
        let path = layout.blob_path(blake3);
        let data = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::UnknownBlob(*blake3));
            }
            opened => opened.map_err(StoreError::io("opening", &path))?,
        };
        let size = data.metadata().map_err(StoreError::io("reading", &path))?.len();
        let tree = tree_of(blake3, size)?;
        let hashes_path = layout.outboard_path(blake3);
        let hashes = match open_hashes(&hashes_path, tree)? {
            Some(hashes) => hashes,
            None => make_hashes(layout, blake3, (&data, &path), tree)?,
        };
        Ok(Self { blake3: *blake3, size, data, path, hashes, hashes_path, _lease: lease })
    }

    /// Length in bytes.
    pub const fn size_bytes(&self) -> u64 {
        self.size
    }

    /// A range with the hashes by which whoever knows the blob's name and length can verify it.
    ///
    /// # Errors
    /// When the range does not begin and end with groups.
    pub fn encode(&self, range: Range<u64>) -> Result<EncodedRange<'_>, StoreError> {
        check_range(&self.blake3, self.size, &range)?;
        let Self { blake3, size, data, hashes, .. } = self;
        let source = Source { blake3, size_bytes: *size, data, pairs: hashes.as_ref() };
        Ok(EncodedRange { reader: self, encoder: source.encode(&range) })
    }

    /// Removes damaged hashes, so that the next who opens the blob makes them anew.
    fn forget_hashes(&self) -> StoreError {
        match fs::remove_file(&self.hashes_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                StoreError::io("removing", &self.hashes_path)(error)
            }
            _ => StoreError::CorruptOutboard(self.blake3),
        }
    }
}

impl EncodedRange<'_> {
    /// The next 128 KiB, or what is left, verified: what [`Self::read`] and [`Self::verify`] do one after the other.
    ///
    /// # Errors
    /// As of those.
    pub fn next_chunk(&mut self, spare: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        match self.read(spare)? {
            Some(chunk) => self.verify(chunk).map(Some),
            None => Ok(None),
        }
    }

    /// Reads the next 128 KiB, or what is left. `spare` is filled anew, whatever it has. Nothing is behind the end, nor
    /// after an error. May wait for the disk.
    ///
    /// # Errors
    /// When the blob's hashes are damaged, or they or the blob cannot be read.
    pub fn read(&mut self, spare: Vec<u8>) -> Result<Option<Unverified>, StoreError> {
        let read = self.encoder.read(spare);
        self.sound(read)
    }

    /// What was read, if it is of the blob.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn verify(&mut self, chunk: Unverified) -> Result<Vec<u8>, StoreError> {
        self.sound(chunk.verify())
    }

    fn sound<T>(&mut self, found: Result<T, Refusal>) -> Result<T, StoreError> {
        let reader = self.reader;
        found.map_err(|refusal| {
            self.encoder.end();
            match refusal {
                Refusal::Group(at) => StoreError::CorruptRange { blob: reader.blake3, at },
                Refusal::Pair => reader.forget_hashes(),
                Refusal::Data(error) => StoreError::io("reading", &reader.path)(error),
                Refusal::Pairs(error) => StoreError::io("reading", &reader.hashes_path)(error),
            }
        })
    }
}

/// The hashes of a blob, if they are there whole.
fn open_hashes(path: &Path, tree: BaoTree) -> Result<Option<Hashes>, StoreError> {
    if tree.outboard_size() == 0 {
        return Ok(Some(None));
    }
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(StoreError::io("opening", path))?,
    };
    let length = file.metadata().map_err(StoreError::io("reading", path))?.len();
    Ok((length == tree.outboard_size()).then_some(Some(file)))
}

/// Reads a blob once, and keeps its hashes if they make its name.
fn make_hashes(
    layout: &Layout,
    blake3: &Digest32,
    (data, data_path): (&File, &Path),
    tree: BaoTree,
) -> Result<Hashes, StoreError> {
    let (temp, file) = layout.create_temp()?;
    let mut out = BufWriter::new(&file);
    let found = outboard_post_order(BufReader::with_capacity(READ_BYTES, data), tree, &mut out)
        .map_err(StoreError::io("hashing", data_path))?;
    out.flush().and_then(|()| file.sync_all()).map_err(StoreError::io("writing", temp.path()))?;
    drop(out);
    let found = Digest32::from_bytes(*found.as_bytes());
    if found != *blake3 {
        return Err(StoreError::CorruptBlob { expected: *blake3, found });
    }
    let path = layout.outboard_path(blake3);
    layout.place(temp.path(), &path)?;
    let file = File::open(&path).map_err(StoreError::io("opening", &path))?;
    Ok(Some(file))
}
