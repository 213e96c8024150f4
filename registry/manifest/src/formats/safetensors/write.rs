//! The canonical writer: tensors by element size, largest first, then by name, so that their data stays
//! aligned and the order of the arguments does not matter.

use super::{METADATA_KEY, Safetensors, SafetensorsError};
use crate::formats::DType;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// A tensor to write.
#[derive(Clone, Copy, Debug)]
pub struct TensorData<'a> {
    /// The name.
    pub name: &'a str,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: &'a [u64],
    /// The elements, little-endian.
    pub data: &'a [u8],
}

/// Writes a file that [`Safetensors::parse`] reads back: the same metadata and tensors always give the same
/// bytes.
///
/// # Errors
/// When data does not fit its shape, the parser would refuse the file, or the sink fails. Nothing has been
/// written unless the sink failed.
pub fn write(
    mut sink: impl Write,
    metadata: &BTreeMap<String, String>,
    tensors: &[TensorData<'_>],
) -> Result<(), SafetensorsError> {
    let mut tensors = tensors.to_vec();
    tensors.sort_by_key(|tensor| (Reverse(tensor.dtype.block().1), tensor.name));
    let header = Header { metadata, tensors: &tensors };
    let mut json = serde_json::to_vec(&header)
        .map_err(|error| SafetensorsError::Json { at: 0, message: error.to_string() })?;
    // Spaces up to a multiple of 8, as the reference writer pads, keep the data aligned in memory.
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    let data_len: u64 = tensors.iter().map(|tensor| tensor.data.len() as u64).sum();
    // The parser's rules are the writer's: names, shapes, limits.
    Safetensors::parse(bytes.as_slice(), (bytes.len() as u64).saturating_add(data_len))?;

    let failed = |error: io::Error| SafetensorsError::Io(error.kind());
    sink.write_all(&bytes).map_err(failed)?;
    tensors.iter().try_for_each(|tensor| sink.write_all(tensor.data).map_err(failed))
}

struct Header<'a> {
    metadata: &'a BTreeMap<String, String>,
    tensors: &'a [TensorData<'a>],
}

#[derive(serde::Serialize)]
struct Entry<'a> {
    dtype: &'a str,
    shape: &'a [u64],
    data_offsets: (u64, u64),
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA_KEY, self.metadata)?;
        }
        let mut begin = 0u64;
        for tensor in self.tensors {
            let end = begin.saturating_add(tensor.data.len() as u64);
            let entry = Entry { dtype: tensor.dtype.name(), shape: tensor.shape, data_offsets: (begin, end) };
            map.serialize_entry(tensor.name, &entry)?;
            begin = end;
        }
        map.end()
    }
}
