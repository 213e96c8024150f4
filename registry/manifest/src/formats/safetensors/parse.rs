//! The header parser.

use super::{DIMS_MAX, LENGTH_BYTES, METADATA_KEY, Safetensors, SafetensorsError, TensorInfo};
use crate::formats::{DType, HEADER_BYTES_MAX, TENSOR_NAME_BYTES_MAX, TENSORS_MAX};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{self, Read};

pub(super) fn parse(mut source: impl Read, file_len: u64) -> Result<Safetensors, SafetensorsError> {
    let mut length = [0; LENGTH_BYTES as usize];
    source.read_exact(&mut length).map_err(|error| read_error(&error, file_len))?;
    let header_len = u64::from_le_bytes(length);
    if header_len > HEADER_BYTES_MAX {
        return Err(SafetensorsError::HeaderTooLarge { len: header_len });
    }
    let data_offset = LENGTH_BYTES + header_len;
    let cut_off = SafetensorsError::UnexpectedEnd { file_len };
    let data_len = file_len.checked_sub(data_offset).ok_or(cut_off.clone())?;

    let mut json = Vec::new();
    source.take(header_len).read_to_end(&mut json).map_err(|error| read_error(&error, file_len))?;
    if json.len() as u64 != header_len {
        return Err(cut_off);
    }
    if json.first() != Some(&b'{') {
        return Err(SafetensorsError::NotAnObject);
    }
    let header: RawHeader = serde_json::from_slice(&json).map_err(|error| json_error(&json, &error))?;
    Ok(Safetensors {
        metadata: unique(header.metadata)?,
        tensors: place(header.tensors, data_offset, data_len)?,
        data_offset,
    })
}

fn read_error(error: &io::Error, file_len: u64) -> SafetensorsError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => SafetensorsError::UnexpectedEnd { file_len },
        kind => SafetensorsError::Io(kind),
    }
}

fn json_error(json: &[u8], error: &serde_json::Error) -> SafetensorsError {
    let lines_before = error.line().saturating_sub(1);
    let before: usize = json.split_inclusive(|byte| *byte == b'\n').take(lines_before).map(<[u8]>::len).sum();
    let at = LENGTH_BYTES + (before + error.column()) as u64;
    SafetensorsError::Json { at, message: error.to_string() }
}

fn unique(entries: Vec<(String, String)>) -> Result<BTreeMap<String, String>, SafetensorsError> {
    let mut map = BTreeMap::new();
    for (key, value) in entries {
        if map.contains_key(&key) {
            return Err(SafetensorsError::DuplicateKey(key));
        }
        map.insert(key, value);
    }
    Ok(map)
}

/// Checks each tensor, sorts them by their data and makes offsets absolute.
fn place(
    raw: Vec<(String, RawTensor)>,
    data_offset: u64,
    data_len: u64,
) -> Result<Vec<TensorInfo>, SafetensorsError> {
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for (name, raw) in raw {
        if !names.insert(name.clone()) {
            return Err(SafetensorsError::DuplicateKey(name));
        }
        tensors.push(checked(name, raw)?);
    }
    tensors.sort_by(|a, b| (a.offset, a.nbytes, &a.name).cmp(&(b.offset, b.nbytes, &b.name)));

    let mut expected = 0u64;
    for tensor in &mut tensors {
        let begin = tensor.offset;
        if begin != expected {
            return Err(SafetensorsError::GapOrOverlap { tensor: tensor.name.clone(), begin, expected });
        }
        expected = begin.saturating_add(tensor.nbytes);
        tensor.offset = data_offset.saturating_add(begin);
    }
    if expected != data_len {
        return Err(SafetensorsError::DataLength { end: expected, data_len });
    }
    Ok(tensors)
}

/// A tensor with its offset still from the start of the data.
fn checked(name: String, raw: RawTensor) -> Result<TensorInfo, SafetensorsError> {
    if name.is_empty() || name.len() > TENSOR_NAME_BYTES_MAX {
        return Err(SafetensorsError::NameLength { len: name.len() });
    }
    let Some(dtype) = DType::from_safetensors_name(&raw.dtype) else {
        return Err(SafetensorsError::ElementType { tensor: name, dtype: raw.dtype });
    };
    let (begin, end) = raw.data_offsets;
    let nbytes = end.saturating_sub(begin);
    if begin > end || dtype.nbytes_of_shape(&raw.shape.0) != Some(nbytes) {
        return Err(SafetensorsError::Shape { tensor: name, nbytes });
    }
    Ok(TensorInfo { name, dtype, shape: raw.shape.0, offset: begin, nbytes })
}

/// The JSON object, its keys in order and not yet unique.
#[derive(Default)]
struct RawHeader {
    metadata: Vec<(String, String)>,
    tensors: Vec<(String, RawTensor)>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: String,
    shape: Shape,
    data_offsets: (u64, u64),
}

struct Shape(Vec<u64>);

/// A JSON object as pairs, at most as many as there may be tensors.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader::default();
                let mut metadata = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key == METADATA_KEY {
                        if metadata.replace(map.next_value::<Pairs>()?.0).is_some() {
                            return Err(A::Error::custom("__metadata__ appears twice"));
                        }
                    } else {
                        header.tensors.push((key, map.next_value()?));
                    }
                    if header.tensors.len() > TENSORS_MAX {
                        return Err(A::Error::custom("more tensors than the limit"));
                    }
                }
                header.metadata = metadata.unwrap_or_default();
                Ok(header)
            }
        }

        deserializer.deserialize_map(HeaderVisitor)
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                    if pairs.len() > TENSORS_MAX {
                        return Err(A::Error::custom("more metadata than the limit"));
                    }
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShapeVisitor;

        impl<'de> Visitor<'de> for ShapeVisitor {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(dim) = seq.next_element()? {
                    shape.push(dim);
                    if shape.len() > DIMS_MAX {
                        return Err(A::Error::custom("more dimensions than the limit"));
                    }
                }
                Ok(Shape(shape))
            }
        }

        deserializer.deserialize_seq(ShapeVisitor)
    }
}
