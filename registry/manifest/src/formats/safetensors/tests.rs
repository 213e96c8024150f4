use super::*;
use crate::formats::HEADER_BYTES_MAX;
use proptest::prelude::*;

fn sample() -> Vec<u8> {
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let tensors = [
        TensorData { name: "flags", dtype: DType::Bool, shape: &[3], data: &[1, 0, 1] },
        TensorData { name: "w", dtype: DType::F32, shape: &[2, 1], data: &[7; 8] },
        TensorData { name: "empty", dtype: DType::F16, shape: &[0, 4], data: &[] },
    ];
    let mut bytes = Vec::new();
    write(&mut bytes, &metadata, &tensors).unwrap();
    bytes
}

fn parse(bytes: &[u8]) -> Result<Safetensors, SafetensorsError> {
    Safetensors::parse(bytes, bytes.len() as u64)
}

/// A file of this header and as many bytes of data.
fn file(json: &str, data_len: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.resize(bytes.len() + data_len, 0);
    bytes
}

#[test]
fn metadata_and_tensors_are_found_aligned() {
    let bytes = sample();
    let read = parse(&bytes).unwrap();
    assert_eq!(read.metadata["format"], "pt");
    let names: Vec<_> = read.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["w", "empty", "flags"]);
    let w = read.tensor("w").unwrap();
    assert_eq!((w.offset, w.nbytes, w.shape.as_slice()), (read.data_offset, 8, [2, 1].as_slice()));
    assert_eq!(read.data_offset % 8, 0);
}

/// A file that the Python package safetensors 0.6.2 wrote.
#[test]
fn a_file_of_the_reference_writer_is_read() {
    let read = parse(include_bytes!("../../../tests/data/safetensors-py.safetensors")).unwrap();
    assert_eq!(read.metadata["k"], "ü");
    let mut seen: Vec<_> =
        read.tensors.iter().map(|t| (t.name.as_str(), t.dtype, t.shape.clone(), t.nbytes)).collect();
    seen.sort();
    let expected = [
        ("bytes", DType::U8, vec![3], 3),
        ("half", DType::F16, vec![5], 10),
        ("matrix", DType::F32, vec![2, 3], 24),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample();
    for end in 0..bytes.len() {
        assert!(parse(&bytes[..end]).is_err(), "cut at {end}");
        assert!(Safetensors::parse(&bytes[..end], u64::MAX).is_err(), "cut at {end}, length unknown");
    }
}

#[test]
fn each_kind_of_malformed_header_has_its_error() {
    use SafetensorsError as E;
    let tensor = |name: &str, body: &str| format!("{{\"{name}\":{{{body}}}}}");
    let cases = [
        (file("[]", 0), E::NotAnObject),
        (file(" {}", 0), E::NotAnObject),
        (file("{}", 1), E::DataLength { end: 0, data_len: 1 }),
        (
            file(&tensor("t", r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#), 3),
            E::DataLength { end: 4, data_len: 3 },
        ),
        (
            file(&tensor("t", r#""dtype":"F32","shape":[1],"data_offsets":[1,5]"#), 5),
            E::GapOrOverlap { tensor: "t".to_owned(), begin: 1, expected: 0 },
        ),
        (
            file(&tensor("t", r#""dtype":"F32","shape":[1],"data_offsets":[0,5]"#), 5),
            E::Shape { tensor: "t".to_owned(), nbytes: 5 },
        ),
        (
            file(&tensor("t", r#""dtype":"F32","shape":[1],"data_offsets":[4,0]"#), 4),
            E::Shape { tensor: "t".to_owned(), nbytes: 0 },
        ),
        (
            file(&tensor("t", r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]"#), 0),
            E::Shape { tensor: "t".to_owned(), nbytes: 0 },
        ),
        (
            file(&tensor("t", r#""dtype":"Q8_0","shape":[32],"data_offsets":[0,34]"#), 34),
            E::ElementType { tensor: "t".to_owned(), dtype: "Q8_0".to_owned() },
        ),
        (file(&tensor("", r#""dtype":"U8","shape":[0],"data_offsets":[0,0]"#), 0), E::NameLength { len: 0 }),
        (file(r#"{"__metadata__":{"a":"b","a":"c"}}"#, 0), E::DuplicateKey("a".to_owned())),
        (
            file(
                r#"{"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
                2,
            ),
            E::DuplicateKey("t".to_owned()),
        ),
        (
            file(
                r#"{"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"u":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
                3,
            ),
            E::GapOrOverlap { tensor: "u".to_owned(), begin: 1, expected: 2 },
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(parse(&bytes).unwrap_err(), expected);
    }
}

#[test]
fn json_of_another_form_is_refused_with_its_position() {
    let many_dims =
        format!(r#"{{"t":{{"dtype":"U8","shape":[{}1],"data_offsets":[0,1]}}}}"#, "1,".repeat(16));
    let nested = format!("{{\"t\":{}", "[".repeat(10_000));
    let cases = [
        ("{", 9),
        (r#"{"t":1}"#, 14),
        (r#"{"t":{"dtype":"U8","shape":[1]}}"#, 39),
        (r#"{"t":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#, 38),
        (r#"{"t":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}"#, 39),
        (r#"{"t":{"x":0}}"#, 17),
        (r#"{"__metadata__":{"a":1}}"#, 30),
        (r#"{"__metadata__":{},"__metadata__":{}}"#, 45),
        (many_dims.as_str(), 70),
        (nested.as_str(), 14),
        ("{}x", 11),
        ("{\n\nx", 12),
    ];
    for (json, expected) in cases {
        match parse(&file(json, 1)).unwrap_err() {
            SafetensorsError::Json { at, .. } => assert_eq!(at, expected, "{json}"),
            other => panic!("{json}: {other}"),
        }
    }
}

#[test]
fn a_header_above_the_limit_is_refused_before_it_is_read() {
    let length = (HEADER_BYTES_MAX + 1).to_le_bytes();
    let expected = SafetensorsError::HeaderTooLarge { len: HEADER_BYTES_MAX + 1 };
    assert_eq!(Safetensors::parse(length.as_slice(), u64::MAX), Err(expected));
}

#[test]
fn the_writer_refuses_what_the_parser_would_and_does_not_care_for_order() {
    let a = TensorData { name: "a", dtype: DType::U8, shape: &[1], data: &[1] };
    let b = TensorData { name: "b", ..a };
    for wrong in [
        vec![a, a],
        vec![TensorData { data: &[], ..a }],
        vec![TensorData { name: METADATA_KEY, ..a }],
        vec![TensorData { dtype: DType::Q8_0, shape: &[32], data: &[0; 34], ..a }],
    ] {
        let mut bytes = Vec::new();
        assert!(write(&mut bytes, &BTreeMap::new(), &wrong).is_err());
        assert!(bytes.is_empty());
    }
    let written = |tensors: &[TensorData<'_>]| {
        let mut bytes = Vec::new();
        write(&mut bytes, &BTreeMap::new(), tensors).unwrap();
        bytes
    };
    assert_eq!(written(&[a, b]), written(&[b, a]));
}

fn tensor() -> impl Strategy<Value = (String, DType, Vec<u64>, Vec<u8>)> {
    let dtype = prop::sample::select(vec![DType::F64, DType::F32, DType::BF16, DType::U8, DType::F4]);
    ("[a-z.\"\\\\ü]{1,8}", dtype, prop::collection::vec(0u64..4, 0..4), any::<u8>()).prop_map(
        |(name, dtype, mut shape, fill)| {
            shape.push(dtype.block().0);
            let nbytes = usize::try_from(dtype.nbytes_of_shape(&shape).unwrap()).unwrap();
            (name, dtype, shape, vec![fill; nbytes])
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        metadata in prop::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
        tensors in prop::collection::vec(tensor(), 0..5),
    ) {
        let mut names = std::collections::HashSet::new();
        let tensors: Vec<_> = tensors.into_iter().filter(|t| names.insert(t.0.clone())).collect();
        let data: Vec<_> = tensors
            .iter()
            .map(|(name, dtype, shape, data)| TensorData { name, dtype: *dtype, shape, data })
            .collect();
        let mut bytes = Vec::new();
        write(&mut bytes, &metadata, &data).unwrap();
        let read = parse(&bytes).unwrap();
        prop_assert_eq!(&read.metadata, &metadata);
        prop_assert_eq!(read.tensors.len(), tensors.len());
        for (name, dtype, shape, data) in &tensors {
            let found = read.tensor(name).unwrap();
            prop_assert_eq!((found.dtype, &found.shape), (*dtype, shape));
            let start = usize::try_from(found.offset).unwrap();
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
        if let Ok(read) = parse(&bytes) {
            let end: u64 = read.tensors.iter().map(|tensor| tensor.nbytes).sum();
            prop_assert_eq!(read.data_offset + end, bytes.len() as u64);
        }
    }
}
