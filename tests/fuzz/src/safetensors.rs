//! safetensors headers.

use std::collections::{BTreeMap, BTreeSet};

use assay_manifest::formats::DType;
use assay_manifest::formats::safetensors::{self, Safetensors, SafetensorsError, TensorData};

use crate::memory::in_proportion;

/// Tensors of a file that is written again may have so many bytes of data.
const DATA_BYTES_MAX: u64 = 1 << 20;
/// The length before the header.
const LENGTH_BYTES: usize = 8;

/// Headers with all element types, metadata, names that JSON escapes, and none of it.
pub fn seeds() -> Vec<Vec<u8>> {
    let of = |dtype: &DType| {
        let shape = [dtype.block().0, 2];
        let data = vec![0; usize::try_from(dtype.nbytes_of_shape(&shape).expect("a shape")).expect("small")];
        let tensors = [TensorData { name: "a.\"é\n", dtype: *dtype, shape: &shape, data: &data }];
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        written(&metadata, &tensors)
    };
    let known = DType::ALL.iter().filter(|dtype| dtype.safetensors_name().is_some());
    let mut seeds: Vec<_> = known.map(of).collect();
    seeds.push(written(&BTreeMap::new(), &[]));
    seeds.push(br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#.to_vec());
    seeds.push(
        br#"{"b":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[0,9],"data_offsets":[8,8]}}"#
            .to_vec(),
    );
    seeds
}

/// Every file that is accepted is filled by its tensors, and can be written and read again. Input that begins
/// with a brace is a header alone, whose length and data are added, so that JSON can be changed at will.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    if !data.starts_with(b"{") {
        let judged = judge(data, data.len() as u64);
        assert!(judged.err().is_none_or(|error| !error.to_string().is_empty()));
        return;
    }
    let header = [&(data.len() as u64).to_le_bytes(), data].concat();
    let bare = header.len() as u64;
    // Without data it tells how much there should be.
    if let Err(SafetensorsError::DataLength { end, .. }) = judge(&header, bare)
        && let Some(whole) = bare.checked_add(end)
    {
        assert_eq!(judge(&header, whole), Ok(()), "the length that it asks for is refused");
    }
}

fn judge(file: &[u8], len: u64) -> Result<(), SafetensorsError> {
    let parsed = in_proportion(file.len(), || Safetensors::parse(file, len));
    parsed.map(|parsed| accepted(&parsed, len))
}

fn accepted(parsed: &Safetensors, len: u64) {
    let names: BTreeSet<_> = parsed.tensors.iter().map(|tensor| &tensor.name).collect();
    assert_eq!(names.len(), parsed.tensors.len(), "a name appears twice");
    let mut next = parsed.data_offset;
    for tensor in &parsed.tensors {
        assert_eq!(tensor.offset, next, "{:?} does not follow its predecessor", tensor.name);
        assert_eq!(tensor.dtype.nbytes_of_shape(&tensor.shape), Some(tensor.nbytes), "{:?}", tensor.name);
        next = tensor.offset.checked_add(tensor.nbytes).expect("a checked end");
    }
    assert_eq!(next, len, "the tensors do not fill the file");
    if len - parsed.data_offset <= DATA_BYTES_MAX {
        let once = rewritten(parsed);
        let again = Safetensors::parse(once.as_slice(), once.len() as u64).expect("our own writer's file");
        assert_eq!(once, rewritten(&again), "a file written twice has other bytes");
        assert_eq!(parsed.metadata, again.metadata);
        let shapes = |file: &Safetensors| {
            let shapes = file.tensors.iter().map(|t| (t.name.clone(), (t.dtype, t.shape.clone())));
            shapes.collect::<BTreeMap<_, _>>()
        };
        assert_eq!(shapes(parsed), shapes(&again));
        assert!(once.len() > LENGTH_BYTES);
    }
}

fn rewritten(file: &Safetensors) -> Vec<u8> {
    let zeros = vec![0; usize::try_from(DATA_BYTES_MAX).expect("small")];
    let tensor = |tensor: &'_ safetensors::TensorInfo| usize::try_from(tensor.nbytes).expect("small");
    let tensors: Vec<_> = file
        .tensors
        .iter()
        .map(|t| TensorData { name: &t.name, dtype: t.dtype, shape: &t.shape, data: &zeros[..tensor(t)] })
        .collect();
    written(&file.metadata, &tensors)
}

fn written(metadata: &BTreeMap<String, String>, tensors: &[TensorData<'_>]) -> Vec<u8> {
    let mut file = Vec::new();
    safetensors::write(&mut file, metadata, tensors).expect("what was read can be written");
    file
}
