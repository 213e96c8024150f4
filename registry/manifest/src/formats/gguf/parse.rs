//! The header parser.

use super::value::ARRAY_TYPE_ID;
use super::{
    ARRAY_ITEMS_MAX, Array, DIMS_MAX, Gguf, GgufError, KEY_BYTES_MAX, MAGIC, METADATA_ENTRIES_MAX, Metadata,
    Problem, TensorInfo, Value, align_up, alignment, tensor_nbytes,
};
use crate::formats::{DType, HEADER_BYTES_MAX, TENSOR_NAME_BYTES_MAX, TENSORS_MAX};
use std::collections::HashSet;
use std::io::{self, Read};

/// Memory is taken for so many bytes before they are there, as for the hundreds of thousands of names that a file has;
/// for more, as they come.
const TRUSTED_BYTES: usize = 4_096;

/// The file, and how far it has been read.
struct Source<R> {
    inner: R,
    at: u64,
    file_len: u64,
    array_items_left: u64,
}

pub(super) fn parse(source: impl Read, file_len: u64) -> Result<Gguf, GgufError> {
    let mut source = Source { inner: source, at: 0, file_len, array_items_left: ARRAY_ITEMS_MAX };
    if source.fixed()? != MAGIC {
        return Err(Problem::Magic.at(0));
    }
    let version = source.u32()?;
    if !(2..=3).contains(&version) {
        return Err(Problem::Version(version).at(4));
    }
    let tensor_count = source.count("tensors", TENSORS_MAX as u64)?;
    let entry_count = source.count("metadata entries", METADATA_ENTRIES_MAX)?;
    let metadata = source.metadata(entry_count)?;
    let alignment = alignment(&metadata).map_err(|problem| problem.at(source.at))?;
    let tensors = source.tensors(tensor_count, alignment)?;
    let data_offset = align_up(source.at, alignment).map_err(|problem| problem.at(source.at))?;
    place(tensors, data_offset, alignment, file_len)
        .map(|tensors| Gguf { version, metadata, tensors, alignment, data_offset })
        .map_err(|problem| problem.at(source.at))
}

/// Makes offsets absolute and checks that the data fills the file.
fn place(
    mut tensors: Vec<TensorInfo>,
    data_offset: u64,
    alignment: u64,
    file_len: u64,
) -> Result<Vec<TensorInfo>, Problem> {
    let mut end = data_offset;
    for tensor in &mut tensors {
        tensor.offset = data_offset.checked_add(tensor.offset).ok_or(Problem::Overflow)?;
        end = tensor.offset.checked_add(tensor.nbytes).ok_or(Problem::Overflow)?;
    }
    if end > file_len && !tensors.is_empty() {
        return Err(Problem::DataBeyondFile { end, file_len });
    }
    match file_len.saturating_sub(align_up(end, alignment)?) {
        0 => Ok(tensors),
        trailing => Err(Problem::TrailingData(trailing)),
    }
}

impl<R: Read> Source<R> {
    /// Refuses to read past the end of the file or the limit of the header.
    fn reserve(&self, len: u64) -> Result<(), GgufError> {
        let end = self.at.checked_add(len).ok_or(Problem::Overflow.at(self.at))?;
        if end > self.file_len {
            return Err(Problem::UnexpectedEnd.at(self.at));
        }
        if end > HEADER_BYTES_MAX {
            return Err(Problem::HeaderTooLarge.at(self.at));
        }
        Ok(())
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        self.reserve(N as u64)?;
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).map_err(|error| self.io(&error))?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn bytes(&mut self, len: u64) -> Result<Vec<u8>, GgufError> {
        self.reserve(len)?;
        let bytes = match usize::try_from(len) {
            Ok(len @ ..TRUSTED_BYTES) => {
                let mut bytes = vec![0; len];
                self.inner.read_exact(&mut bytes).map(|()| bytes)
            }
            _ => {
                let mut bytes = Vec::new();
                self.inner.by_ref().take(len).read_to_end(&mut bytes).map(|_| bytes)
            }
        };
        let bytes = bytes.map_err(|error| self.io(&error))?;
        if bytes.len() as u64 != len {
            return Err(Problem::UnexpectedEnd.at(self.at));
        }
        self.at += len;
        Ok(bytes)
    }

    fn io(&self, error: &io::Error) -> GgufError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Problem::UnexpectedEnd.at(self.at),
            kind => Problem::Io(kind).at(self.at),
        }
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        self.fixed().map(u64::from_le_bytes)
    }

    fn count(&mut self, what: &'static str, max: u64) -> Result<u64, GgufError> {
        let at = self.at;
        match self.u64()? {
            found if found > max => Err(Problem::TooMany { what, found, max }.at(at)),
            count => Ok(count),
        }
    }

    fn string(&mut self, what: &'static str, max: u64) -> Result<String, GgufError> {
        let len = self.count(what, max)?;
        let at = self.at;
        String::from_utf8(self.bytes(len)?).map_err(|_| Problem::NotUtf8.at(at))
    }

    fn name(&mut self, what: &'static str, max: u64) -> Result<String, GgufError> {
        let at = self.at;
        match self.string(what, max)? {
            name if name.is_empty() => Err(Problem::EmptyName.at(at)),
            name => Ok(name),
        }
    }

    fn metadata(&mut self, count: u64) -> Result<Metadata, GgufError> {
        let mut metadata = Metadata::new();
        for _ in 0..count {
            let at = self.at;
            let key = self.name("bytes of a key", KEY_BYTES_MAX)?;
            if metadata.contains_key(&key) {
                return Err(Problem::DuplicateKey(key).at(at));
            }
            let value = self.value()?;
            metadata.insert(key, value);
        }
        Ok(metadata)
    }

    fn value(&mut self) -> Result<Value, GgufError> {
        let at = self.at;
        Ok(match self.u32()? {
            0 => Value::U8(self.fixed().map(u8::from_le_bytes)?),
            1 => Value::I8(self.fixed().map(i8::from_le_bytes)?),
            2 => Value::U16(self.fixed().map(u16::from_le_bytes)?),
            3 => Value::I16(self.fixed().map(i16::from_le_bytes)?),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(self.fixed().map(i32::from_le_bytes)?),
            6 => Value::F32(self.fixed().map(f32::from_le_bytes)?),
            7 => Value::Bool(self.bool()?),
            8 => Value::String(self.string("bytes of text", HEADER_BYTES_MAX)?),
            ARRAY_TYPE_ID => Value::Array(self.array()?),
            10 => Value::U64(self.u64()?),
            11 => Value::I64(self.fixed().map(i64::from_le_bytes)?),
            12 => Value::F64(self.fixed().map(f64::from_le_bytes)?),
            other => return Err(Problem::ValueType(other).at(at)),
        })
    }

    fn array(&mut self) -> Result<Array, GgufError> {
        let at = self.at;
        let item_type = self.u32()?;
        let len = self.count("array items", self.array_items_left)?;
        self.array_items_left -= len;
        Ok(match item_type {
            0 => Array::U8(self.bytes(len)?),
            1 => Array::I8(self.items(len, i8::from_le_bytes)?),
            2 => Array::U16(self.items(len, u16::from_le_bytes)?),
            3 => Array::I16(self.items(len, i16::from_le_bytes)?),
            4 => Array::U32(self.items(len, u32::from_le_bytes)?),
            5 => Array::I32(self.items(len, i32::from_le_bytes)?),
            6 => Array::F32(self.items(len, f32::from_le_bytes)?),
            7 => Array::Bool((0..len).map(|_| self.bool()).collect::<Result<_, _>>()?),
            8 => {
                let strings = (0..len).map(|_| self.string("bytes of text", HEADER_BYTES_MAX));
                Array::String(strings.collect::<Result<_, _>>()?)
            }
            10 => Array::U64(self.items(len, u64::from_le_bytes)?),
            11 => Array::I64(self.items(len, i64::from_le_bytes)?),
            12 => Array::F64(self.items(len, f64::from_le_bytes)?),
            ARRAY_TYPE_ID => return Err(Problem::NestedArray.at(at)),
            other => return Err(Problem::ValueType(other).at(at)),
        })
    }

    fn items<T, const N: usize>(&mut self, len: u64, item: fn([u8; N]) -> T) -> Result<Vec<T>, GgufError> {
        let nbytes = len.checked_mul(N as u64).ok_or(Problem::Overflow.at(self.at))?;
        let bytes = self.bytes(nbytes)?;
        Ok(bytes.as_chunks().0.iter().copied().map(item).collect())
    }

    fn bool(&mut self) -> Result<bool, GgufError> {
        let at = self.at;
        match self.fixed()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(Problem::Bool(other).at(at)),
        }
    }

    /// Entries with offsets from the start of the data.
    fn tensors(&mut self, count: u64, alignment: u64) -> Result<Vec<TensorInfo>, GgufError> {
        let mut tensors = Vec::new();
        let mut names = HashSet::new();
        let mut next = 0;
        for _ in 0..count {
            let at = self.at;
            let tensor = self.tensor()?;
            if !names.insert(tensor.name.clone()) {
                return Err(Problem::DuplicateTensor(tensor.name).at(at));
            }
            if tensor.offset != next {
                let (tensor, found) = (tensor.name, tensor.offset);
                return Err(Problem::Offset { tensor, expected: next, found }.at(at));
            }
            let end = next.checked_add(tensor.nbytes).ok_or(Problem::Overflow.at(at))?;
            next = align_up(end, alignment).map_err(|problem| problem.at(at))?;
            tensors.push(tensor);
        }
        Ok(tensors)
    }

    fn tensor(&mut self) -> Result<TensorInfo, GgufError> {
        let name = self.name("bytes of a tensor name", TENSOR_NAME_BYTES_MAX as u64)?;
        let at = self.at;
        let n_dims = self.u32()?;
        if n_dims > DIMS_MAX {
            let (found, max) = (n_dims.into(), DIMS_MAX.into());
            return Err(Problem::TooMany { what: "dimensions", found, max }.at(at));
        }
        let dims = (0..n_dims).map(|_| self.u64()).collect::<Result<Vec<_>, _>>()?;
        let type_at = self.at;
        let type_id = self.u32()?;
        let Some(dtype) = DType::from_ggml_id(type_id) else {
            return Err(Problem::ElementType { tensor: name, found: type_id }.at(type_at));
        };
        let nbytes = tensor_nbytes(&name, dtype, &dims).map_err(|problem| problem.at(at))?;
        Ok(TensorInfo { name, dtype, dims, offset: self.u64()?, nbytes })
    }
}
