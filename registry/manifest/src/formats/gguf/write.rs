//! The canonical writer: version 3, metadata sorted by key, tensors in the given order, zero padding.

use super::{
    Array, Gguf, GgufError, MAGIC, Metadata, Problem, VERSION, Value, align_up, alignment, tensor_nbytes,
};
use crate::formats::DType;
use std::io::{self, Read, Write};

/// A tensor to write.
#[derive(Clone, Copy, Debug)]
pub struct TensorData<'a> {
    /// The name.
    pub name: &'a str,
    /// Element type.
    pub dtype: DType,
    /// Dimensions in GGUF's order, columns first.
    pub dims: &'a [u64],
    /// The elements, little-endian.
    pub data: &'a [u8],
}

/// Writes a file that [`Gguf::parse`] reads back: the same metadata and tensors always give the same bytes.
///
/// # Errors
/// When data does not fit its shape, the parser would refuse the file, or the sink fails. Nothing has been
/// written unless the sink failed.
pub fn write(mut sink: impl Write, metadata: &Metadata, tensors: &[TensorData<'_>]) -> Result<(), GgufError> {
    let alignment = alignment(metadata).map_err(|problem| problem.at(0))?;
    let mut header = Header(Vec::new());
    header.raw(&MAGIC);
    header.raw(&VERSION.to_le_bytes());
    header.u64(tensors.len() as u64);
    header.u64(metadata.len() as u64);
    metadata.iter().for_each(|(key, value)| header.entry(key, value));
    let data_len = header.tensors(tensors, alignment)?;
    header.pad(alignment)?;
    // The parser's rules are the writer's: names, counts, limits.
    let header = header.0;
    Gguf::parse(header.as_slice(), (header.len() as u64).saturating_add(data_len))?;

    let failed = |error: io::Error| Problem::Io(error.kind()).at(0);
    sink.write_all(&header).map_err(failed)?;
    for tensor in tensors {
        let len = tensor.data.len() as u64;
        let padding = align_up(len, alignment).map_err(|problem| problem.at(len))? - len;
        sink.write_all(tensor.data).map_err(failed)?;
        io::copy(&mut io::repeat(0).take(padding), &mut sink).map_err(failed)?;
    }
    Ok(())
}

struct Header(Vec<u8>);

impl Header {
    fn fail(&self, problem: Problem) -> GgufError {
        problem.at(self.0.len() as u64)
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.u64(text.len() as u64);
        self.raw(text.as_bytes());
    }

    fn pad(&mut self, alignment: u64) -> Result<(), GgufError> {
        let len = self.0.len() as u64;
        let padded = align_up(len, alignment).map_err(|problem| problem.at(len))?;
        self.0.extend((len..padded).map(|_| 0));
        Ok(())
    }

    fn entry(&mut self, key: &str, value: &Value) {
        self.string(key);
        self.raw(&value.type_id().to_le_bytes());
        match value {
            Value::U8(n) => self.raw(&n.to_le_bytes()),
            Value::I8(n) => self.raw(&n.to_le_bytes()),
            Value::U16(n) => self.raw(&n.to_le_bytes()),
            Value::I16(n) => self.raw(&n.to_le_bytes()),
            Value::U32(n) => self.raw(&n.to_le_bytes()),
            Value::I32(n) => self.raw(&n.to_le_bytes()),
            Value::F32(n) => self.raw(&n.to_le_bytes()),
            Value::Bool(flag) => self.raw(&[u8::from(*flag)]),
            Value::String(text) => self.string(text),
            Value::Array(array) => self.array(array),
            Value::U64(n) => self.u64(*n),
            Value::I64(n) => self.raw(&n.to_le_bytes()),
            Value::F64(n) => self.raw(&n.to_le_bytes()),
        }
    }

    fn array(&mut self, array: &Array) {
        self.raw(&array.item_type_id().to_le_bytes());
        self.u64(array.len() as u64);
        match array {
            Array::U8(items) => self.raw(items),
            Array::I8(items) => items.iter().for_each(|n| self.raw(&n.to_le_bytes())),
            Array::U16(items) => items.iter().for_each(|n| self.raw(&n.to_le_bytes())),
            Array::I16(items) => items.iter().for_each(|n| self.raw(&n.to_le_bytes())),
            Array::U32(items) => items.iter().for_each(|n| self.raw(&n.to_le_bytes())),
            Array::I32(items) => items.iter().for_each(|n| self.raw(&n.to_le_bytes())),
            Array::F32(items) => items.iter().for_each(|n| self.raw(&n.to_le_bytes())),
            Array::Bool(items) => items.iter().for_each(|flag| self.raw(&[u8::from(*flag)])),
            Array::String(items) => items.iter().for_each(|text| self.string(text)),
            Array::U64(items) => items.iter().for_each(|n| self.raw(&n.to_le_bytes())),
            Array::I64(items) => items.iter().for_each(|n| self.raw(&n.to_le_bytes())),
            Array::F64(items) => items.iter().for_each(|n| self.raw(&n.to_le_bytes())),
        }
    }

    /// Writes the entries and returns the length of the data, padding included.
    fn tensors(&mut self, tensors: &[TensorData<'_>], alignment: u64) -> Result<u64, GgufError> {
        let mut offset = 0u64;
        for tensor in tensors {
            let nbytes = tensor_nbytes(tensor.name, tensor.dtype, tensor.dims);
            let nbytes = nbytes.map_err(|problem| self.fail(problem))?;
            if nbytes != tensor.data.len() as u64 {
                return Err(self.fail(Problem::DataLength(tensor.name.to_owned())));
            }
            let type_id = tensor.dtype.ggml_id().ok_or_else(|| self.fail(Problem::NotAGgufType))?;
            self.string(tensor.name);
            self.raw(&u32::try_from(tensor.dims.len()).unwrap_or(u32::MAX).to_le_bytes());
            tensor.dims.iter().for_each(|dim| self.u64(*dim));
            self.raw(&type_id.to_le_bytes());
            self.u64(offset);
            let end = offset.checked_add(nbytes).ok_or_else(|| self.fail(Problem::Overflow))?;
            offset = align_up(end, alignment).map_err(|problem| self.fail(problem))?;
        }
        Ok(offset)
    }
}
