//! Batches in a file, so that no process holds more than one.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use assay_runtime::executor::Batch;
use codec::{Decode, Encode};

/// A batch, and how full its block was.
#[derive(Encode, Decode)]
pub struct Recorded {
    pub kind: Kind,
    pub batch: Batch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Kind {
    Genesis,
    Typical,
    Full,
}

pub struct Writer(BufWriter<File>);

impl Writer {
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(BufWriter::new(File::create(path)?)))
    }

    pub fn append(&mut self, recorded: &Recorded) -> io::Result<()> {
        let bytes = recorded.encode();
        self.0.write_all(&(bytes.len() as u64).to_le_bytes())?;
        self.0.write_all(&bytes)
    }

    pub fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

pub struct Reader(BufReader<File>);

impl Reader {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(BufReader::new(File::open(path)?)))
    }
}

impl Iterator for Reader {
    type Item = io::Result<Recorded>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut length = [0; 8];
        if let Err(error) = self.0.read_exact(&mut length) {
            return (error.kind() != io::ErrorKind::UnexpectedEof).then_some(Err(error));
        }
        let mut bytes = vec![0; u64::from_le_bytes(length) as usize];
        Some(self.0.read_exact(&mut bytes).and_then(|()| {
            Recorded::decode(&mut bytes.as_slice()).map_err(|error| io::Error::other(error.to_string()))
        }))
    }
}
