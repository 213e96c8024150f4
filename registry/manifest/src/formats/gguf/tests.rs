use super::*;
use crate::formats::{HEADER_BYTES_MAX, TENSOR_NAME_BYTES_MAX, TENSORS_MAX};
use proptest::prelude::*;

fn sample() -> Vec<u8> {
    let metadata = Metadata::from([
        ("general.architecture".to_owned(), Value::String("llama".to_owned())),
        ("llama.block_count".to_owned(), Value::U32(2)),
        ("llama.rope.freq_base".to_owned(), Value::F32(10_000.0)),
        ("flag".to_owned(), Value::Bool(true)),
        ("tokens".to_owned(), Value::Array(Array::String(vec!["a".to_owned(), "bc".to_owned()]))),
        ("types".to_owned(), Value::Array(Array::I32(vec![1, -3]))),
    ]);
    let embeddings = [7; 68];
    let norm = [0; 8];
    let tensors = [
        TensorData { name: "token_embd.weight", dtype: DType::Q8_0, dims: &[32, 2], data: &embeddings },
        TensorData { name: "output_norm.weight", dtype: DType::F32, dims: &[2], data: &norm },
    ];
    let mut bytes = Vec::new();
    write(&mut bytes, &metadata, &tensors).unwrap();
    bytes
}

fn parse(bytes: &[u8]) -> Result<Gguf, GgufError> {
    Gguf::parse(bytes, bytes.len() as u64)
}

#[test]
fn metadata_and_tensors_are_found() {
    let bytes = sample();
    let gguf = parse(&bytes).unwrap();
    assert_eq!((gguf.version, gguf.alignment), (3, 32));
    assert_eq!(gguf.require::<u32>("llama.block_count"), Ok(2));
    assert_eq!(gguf.require::<f32>("llama.rope.freq_base"), Ok(10_000.0));
    assert_eq!(gguf.require::<&str>("general.architecture"), Ok("llama"));
    assert_eq!(gguf.require::<bool>("flag"), Ok(true));
    assert_eq!(gguf.require::<&[i32]>("types"), Ok([1, -3].as_slice()));
    assert_eq!(gguf.require::<&[String]>("tokens").unwrap(), ["a", "bc"]);
    assert_eq!(gguf.lookup::<u32>("nothing"), Ok(None));
    assert_eq!(gguf.require::<u32>("nothing"), Err(KeyError::Missing { key: "nothing".to_owned() }));
    assert!(matches!(gguf.lookup::<u32>("types"), Err(KeyError::Type { found: "array of i32", .. })));

    let norm = gguf.tensor("output_norm.weight").unwrap();
    assert_eq!((norm.offset - gguf.data_offset, norm.nbytes, norm.dims.as_slice()), (96, 8, [2].as_slice()));
    let embeddings = &gguf.tensors[0];
    assert_eq!(embeddings.shape(), [2, 32]);
    let start = usize::try_from(embeddings.offset).unwrap();
    assert_eq!(&bytes[start..start + 68], [7; 68]);
    assert_eq!(bytes.len() as u64, gguf.data_offset + 96 + 32);
}

/// A file that gguf-py 0.19.0 wrote: version, metadata of each type, an F32, an F16 and a Q8_0 tensor.
#[test]
fn a_file_of_the_reference_writer_is_read() {
    let gguf = parse(include_bytes!("../../../tests/data/gguf-py.gguf")).unwrap();
    assert_eq!(gguf.require::<&str>("general.architecture"), Ok("llama"));
    assert_eq!(gguf.get("test.i8"), Some(&Value::I8(-8)));
    assert_eq!(gguf.get("test.f64"), Some(&Value::F64(0.5)));
    assert_eq!(gguf.require::<&[String]>("tokenizer.ggml.tokens").unwrap(), ["a", "b", "ü"]);
    let seen: Vec<_> =
        gguf.tensors.iter().map(|t| (t.name.as_str(), t.dtype, t.dims.clone(), t.nbytes)).collect();
    let expected = [
        ("matrix", DType::F32, vec![3, 2], 24),
        ("half", DType::F16, vec![5], 10),
        ("blocks", DType::Q8_0, vec![64, 2], 136),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample();
    // The padding after the last tensor may be missing; writers differ there.
    let end = bytes.len() - 24;
    assert!(parse(&bytes[..end]).is_ok());
    for end in 0..end {
        assert!(parse(&bytes[..end]).is_err(), "cut at {end}");
        assert!(Gguf::parse(&bytes[..end], u64::MAX).is_err(), "cut at {end}, length unknown");
    }
}

#[test]
fn bytes_after_the_last_tensor_are_refused() {
    let mut bytes = sample();
    bytes.push(0);
    assert_eq!(parse(&bytes).unwrap_err().problem, Problem::TrailingData(1));
}

#[test]
fn the_writer_refuses_what_the_parser_would() {
    let tensor = TensorData { name: "t", dtype: DType::F32, dims: &[1], data: &[0; 4] };
    let long = "x".repeat(TENSOR_NAME_BYTES_MAX + 1);
    let cases = [
        (vec![tensor, tensor], Problem::DuplicateTensor("t".to_owned())),
        (vec![TensorData { name: "", ..tensor }], Problem::EmptyName),
        (
            vec![TensorData { name: &long, ..tensor }],
            Problem::TooMany { what: "bytes of a tensor name", found: 257, max: 256 },
        ),
        (vec![TensorData { data: &[0; 3], ..tensor }], Problem::DataLength("t".to_owned())),
        (vec![TensorData { dtype: DType::U32, ..tensor }], Problem::NotAGgufType),
        (vec![TensorData { dims: &[0], data: &[], ..tensor }], Problem::Shape(tensor.name.to_owned())),
        (
            vec![TensorData { dims: &[1; 5], ..tensor }],
            Problem::TooMany { what: "dimensions", found: 5, max: 4 },
        ),
    ];
    for (tensors, expected) in cases {
        let mut bytes = Vec::new();
        assert_eq!(write(&mut bytes, &Metadata::new(), &tensors).unwrap_err().problem, expected);
        assert!(bytes.is_empty());
    }
}

/// A header from raw parts, for what the writer refuses to write.
struct Raw(Vec<u8>);

impl Raw {
    fn new(tensors: u64, entries: u64) -> Self {
        Self(b"GGUF\x03\0\0\0".to_vec()).u64(tensors).u64(entries)
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(self, text: &[u8]) -> Self {
        let mut raw = self.u64(text.len() as u64);
        raw.0.extend(text);
        raw
    }

    fn tensor(self, name: &[u8], dims: &[u64], type_id: u32, offset: u64) -> Self {
        let raw = self.text(name).u32(u32::try_from(dims.len()).unwrap());
        dims.iter().fold(raw, |raw, dim| raw.u64(*dim)).u32(type_id).u64(offset)
    }

    /// Data for the tensors, so that only the header can be at fault.
    fn problem(mut self) -> Problem {
        let file_len = self.0.len() as u64 + 4096;
        self.0.resize(self.0.len() + 4096, 0);
        Gguf::parse(self.0.as_slice(), file_len).unwrap_err().problem
    }
}

#[test]
fn each_kind_of_malformed_header_has_its_error() {
    let f32_id = 0;
    let big = 1 << 62;
    let cases = [
        (Raw(b"GGML\x03\0\0\0".to_vec()), Problem::Magic),
        (Raw(b"GGUF\x01\0\0\0".to_vec()), Problem::Version(1)),
        (Raw(b"GGUF\0\0\0\x03".to_vec()), Problem::Version(0x0300_0000)),
        (Raw::new(big, 0), Problem::TooMany { what: "tensors", found: big, max: TENSORS_MAX as u64 }),
        (Raw::new(0, 1).u64(big), Problem::TooMany { what: "bytes of a key", found: big, max: 65_535 }),
        (Raw::new(0, 1).text(b""), Problem::EmptyName),
        (Raw::new(0, 1).text(b"\xff"), Problem::NotUtf8),
        (Raw::new(0, 1).text(b"k").u32(13), Problem::ValueType(13)),
        (Raw::new(0, 1).text(b"k").u32(7).u32(2), Problem::Bool(2)),
        (Raw::new(0, 1).text(b"k").u32(9).u32(9).u64(1), Problem::NestedArray),
        (
            Raw::new(0, 1).text(b"k").u32(9).u32(8).u64(big),
            Problem::TooMany { what: "array items", found: big, max: ARRAY_ITEMS_MAX },
        ),
        (Raw::new(0, 1).text(b"k").u32(8).u64(50_000_000), Problem::UnexpectedEnd),
        (
            Raw::new(0, 2).text(b"k").u32(4).u32(1).text(b"k").u32(4).u32(1),
            Problem::DuplicateKey("k".to_owned()),
        ),
        (Raw::new(0, 1).text(b"general.alignment").u32(4).u32(48), Problem::Alignment),
        (Raw::new(0, 1).text(b"general.alignment").u32(4).u32(0), Problem::Alignment),
        (
            Raw::new(1, 0).text(b"t").u32(5),
            Problem::TooMany { what: "dimensions", found: 5, max: DIMS_MAX.into() },
        ),
        (Raw::new(1, 0).tensor(b"t", &[1], 4, 0), Problem::ElementType { tensor: "t".to_owned(), found: 4 }),
        (Raw::new(1, 0).tensor(b"t", &[0], f32_id, 0), Problem::Shape("t".to_owned())),
        (Raw::new(1, 0).tensor(b"t", &[big, 4], f32_id, 0), Problem::Shape("t".to_owned())),
        (Raw::new(1, 0).tensor(b"t", &[16, 2], 8, 0), Problem::Shape("t".to_owned())),
        (
            Raw::new(2, 0).tensor(b"t", &[1], f32_id, 0).tensor(b"t", &[1], f32_id, 32),
            Problem::DuplicateTensor("t".to_owned()),
        ),
        (
            Raw::new(2, 0).tensor(b"t", &[1], f32_id, 0).tensor(b"u", &[1], f32_id, 0),
            Problem::Offset { tensor: "u".to_owned(), expected: 32, found: 0 },
        ),
        (
            Raw::new(2, 0).tensor(b"t", &[1], f32_id, 0).tensor(b"u", &[1], f32_id, 64),
            Problem::Offset { tensor: "u".to_owned(), expected: 32, found: 64 },
        ),
        (
            Raw::new(1, 0).tensor(b"t", &[1], f32_id, 7),
            Problem::Offset { tensor: "t".to_owned(), expected: 0, found: 7 },
        ),
        (
            Raw::new(2, 0).tensor(b"t", &[1 << 61], f32_id, 0).tensor(b"u", &[1 << 61], f32_id, 1 << 63),
            Problem::Overflow,
        ),
    ];
    for (raw, expected) in cases {
        assert_eq!(raw.problem(), expected);
    }
}

#[test]
fn data_beyond_the_file_is_refused() {
    let raw = Raw::new(1, 0).tensor(b"t", &[4096], 0, 0);
    assert!(matches!(raw.problem(), Problem::DataBeyondFile { .. }));
}

#[test]
fn a_header_above_the_limit_is_refused_however_long_the_file() {
    let header = Raw::new(0, 1).text(b"k").u32(8).u64(HEADER_BYTES_MAX).0;
    let endless = header.as_slice().chain(std::io::repeat(b'x'));
    assert_eq!(Gguf::parse(endless, u64::MAX).unwrap_err().problem, Problem::HeaderTooLarge);
}

fn value() -> impl Strategy<Value = Value> {
    let text = "[a-zü]{0,6}";
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<f32>().prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        text.prop_map(Value::String),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(|items| Value::Array(Array::U8(items))),
        prop::collection::vec(any::<i16>(), 0..4).prop_map(|items| Value::Array(Array::I16(items))),
        prop::collection::vec(any::<f32>(), 0..4).prop_map(|items| Value::Array(Array::F32(items))),
        prop::collection::vec(any::<bool>(), 0..4).prop_map(|items| Value::Array(Array::Bool(items))),
        prop::collection::vec(text, 0..4).prop_map(|items| Value::Array(Array::String(items))),
        prop::collection::vec(any::<u64>(), 0..4).prop_map(|items| Value::Array(Array::U64(items))),
    ]
}

fn tensor() -> impl Strategy<Value = (String, DType, Vec<u64>, Vec<u8>)> {
    let dtype = prop::sample::select(vec![DType::F32, DType::F16, DType::Q8_0, DType::Q4_0, DType::I8]);
    ("[a-z.]{1,8}", dtype, prop::collection::vec(1u64..4, 0..4), any::<u8>()).prop_map(
        |(name, dtype, mut dims, fill)| {
            dims.insert(0, dtype.block().0);
            let nbytes = usize::try_from(dtype.nbytes_of_shape(&dims).unwrap()).unwrap();
            (name, dtype, dims, vec![fill; nbytes])
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        metadata in prop::collection::btree_map("[a-z.]{1,8}", value(), 0..6),
        tensors in prop::collection::vec(tensor(), 0..5),
    ) {
        let mut names = std::collections::HashSet::new();
        let tensors: Vec<_> = tensors.into_iter().filter(|t| names.insert(t.0.clone())).collect();
        let data: Vec<_> = tensors
            .iter()
            .map(|(name, dtype, dims, data)| TensorData { name, dtype: *dtype, dims, data })
            .collect();
        let mut bytes = Vec::new();
        write(&mut bytes, &metadata, &data).unwrap();
        let gguf = parse(&bytes).unwrap();
        prop_assert_eq!(&gguf.metadata, &metadata);
        prop_assert_eq!(gguf.tensors.len(), tensors.len());
        for (read, (name, dtype, dims, data)) in gguf.tensors.iter().zip(&tensors) {
            prop_assert_eq!((&read.name, read.dtype, &read.dims), (name, *dtype, dims));
            let start = usize::try_from(read.offset).unwrap();
            prop_assert_eq!(&bytes[start..start + data.len()], data.as_slice());
        }
    }

    #[test]
    fn mutated_files_are_read_or_refused_without_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = sample();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(gguf) = parse(&bytes) {
            for tensor in &gguf.tensors {
                prop_assert!(tensor.offset + tensor.nbytes <= bytes.len() as u64);
            }
        }
    }
}
