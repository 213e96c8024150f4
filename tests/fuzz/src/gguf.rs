//! GGUF headers.

use std::io::{self, Read};

use assay_engine::Config;
use assay_engine::synthetic::Synthetic;
use assay_manifest::canonical::gguf_part_ids;
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::{self, Array, Gguf, GgufError, Metadata, Problem, TensorData, Value};

use crate::memory::in_proportion;
use crate::random::Random;

/// Tensors of a file that is written again may have so many bytes of data.
const DATA_BYTES_MAX: u64 = 1 << 20;

/// Small files of all kinds of values; headers of which the tensors' data is cut off.
pub fn seeds() -> Vec<Vec<u8>> {
    let model = Synthetic { layers: 1, ..Synthetic::default() }.gguf().expect("a small model");
    let header = Gguf::parse(model.as_slice(), model.len() as u64).expect("the model").data_offset;
    let header = model[..usize::try_from(header).expect("a short header")].to_vec();
    let values = [
        Value::U8(1),
        Value::I64(-1),
        Value::F32(f32::NAN),
        Value::Bool(true),
        Value::String("text".into()),
        Value::Array(Array::Bool(vec![true, false])),
        Value::Array(Array::F64(vec![1.5])),
        Value::Array(Array::String(vec![String::new(), "é".into()])),
    ];
    let metadata = values.into_iter().enumerate().map(|(n, value)| (format!("key.{n}"), value)).collect();
    let plain = |dtype: DType, dims: &[u64]| {
        let data = vec![0; usize::try_from(dtype.nbytes_of_shape(dims).expect("a shape")).expect("small")];
        let tensors = [TensorData { name: "a", dtype, dims, data: &data }];
        written(&metadata, &tensors).expect("a file")
    };
    vec![
        header,
        written(&Metadata::new(), &[]).expect("an empty file"),
        plain(DType::F32, &[3]),
        plain(DType::Q8_0, &[32, 2]),
        plain(DType::Q4_K, &[256, 1, 2]),
    ]
}

/// Every reader reads the same, within its bounds, and what is accepted can be written and read again.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let len = data.len() as u64;
    let parsed = in_proportion(data.len(), || Gguf::parse(data, len));
    let slowly = Gguf::parse(ByteByByte(data), len);
    assert_eq!(parsed.is_ok(), slowly.is_ok(), "how a file is delivered decides whether it is accepted");
    match parsed {
        Ok(gguf) => accepted(&gguf, len),
        // The header of a large file whose data was left out.
        Err(GgufError { problem: Problem::DataBeyondFile { end, .. }, .. }) => {
            for len in [1, 32, 1 << 21].into_iter().filter_map(|unit| end.checked_next_multiple_of(unit)) {
                if let Ok(gguf) = in_proportion(data.len(), || Gguf::parse(data, len)) {
                    accepted(&gguf, len);
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn accepted(gguf: &Gguf, len: u64) {
    let mut next = gguf.data_offset;
    for tensor in &gguf.tensors {
        assert_eq!(tensor.offset, next, "{} does not follow its predecessor", tensor.name);
        assert_eq!(tensor.dtype.nbytes_of_shape(&tensor.dims), Some(tensor.nbytes), "{}", tensor.name);
        let end = tensor.offset.checked_add(tensor.nbytes).expect("a checked end");
        assert!(end <= len, "{} ends beyond the file", tensor.name);
        next = end.next_multiple_of(gguf.alignment);
    }
    // What the engine makes of the settings; most are refused.
    let _ = Config::from_gguf(gguf);
    let ids = gguf_part_ids(&gguf.metadata);
    if gguf.tensors.iter().map(|tensor| tensor.nbytes).sum::<u64>() <= DATA_BYTES_MAX {
        let once = rewritten(gguf);
        let again = Gguf::parse(once.as_slice(), once.len() as u64).expect("our own writer's file");
        assert_eq!(ids, gguf_part_ids(&again.metadata), "a file written again has another id");
        assert_eq!(once, rewritten(&again), "a file written twice has other bytes");
        let shapes = |gguf: &Gguf| {
            gguf.tensors.iter().map(|t| (t.name.clone(), t.dtype, t.dims.clone())).collect::<Vec<_>>()
        };
        assert_eq!(shapes(gguf), shapes(&again));
    }
}

fn rewritten(gguf: &Gguf) -> Vec<u8> {
    let size = |tensor: &gguf::TensorInfo| usize::try_from(tensor.nbytes).expect("under the limit");
    let data: Vec<Vec<u8>> = gguf.tensors.iter().map(|tensor| vec![0; size(tensor)]).collect();
    let tensors: Vec<_> = gguf.tensors.iter().zip(&data).map(|(t, data)| tensor_data(t, data)).collect();
    written(&gguf.metadata, &tensors).expect("what was read can be written")
}

fn tensor_data<'a>(tensor: &'a gguf::TensorInfo, data: &'a [u8]) -> TensorData<'a> {
    TensorData { name: &tensor.name, dtype: tensor.dtype, dims: &tensor.dims, data }
}

fn written(metadata: &Metadata, tensors: &[TensorData<'_>]) -> Result<Vec<u8>, GgufError> {
    let mut file = Vec::new();
    gguf::write(&mut file, metadata, tensors).map(|()| file)
}

/// Delivers a byte at a time.
struct ByteByByte<'a>(&'a [u8]);

impl Read for ByteByByte<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(1);
        self.0.read(&mut buffer[..len])
    }
}

/// Changes one number that the header states: a count, a length, a type, a dimension or an offset; or takes
/// bytes out of a text, or puts some in, and corrects its length.
///
/// The fields are found by reading the header as far as it makes sense.
pub fn mutate(data: &[u8], seed: u64) -> Option<Vec<u8>> {
    let mut random = Random::new(seed);
    let fields = Fields::of(data);
    let field = random.pick(&fields.0).copied()?;
    let mut changed = data.to_vec();
    match field {
        Field::U32 { at } => {
            let old = u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?);
            let new = if random.below(2) == 0 { random.below(48) as u64 } else { random.near(old.into()) };
            changed[at..at + 4].copy_from_slice(&(new as u32).to_le_bytes());
        }
        Field::U64 { at } => {
            let old = u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?);
            changed[at..at + 8].copy_from_slice(&random.near(old).to_le_bytes());
        }
        Field::Text { at, len } => {
            let cut = random.below(len + 1);
            let put = random.next().to_le_bytes();
            let put = &put[..random.below(put.len())];
            let new_len = cut + put.len();
            changed.splice(at + 8 + cut..at + 8 + len, put.iter().copied());
            changed[at..at + 8].copy_from_slice(&(new_len as u64).to_le_bytes());
        }
    }
    Some(changed)
}

#[derive(Clone, Copy)]
enum Field {
    U32 { at: usize },
    U64 { at: usize },
    Text { at: usize, len: usize },
}

/// Where a header's fields are, as far as it can be followed.
struct Fields(Vec<Field>);

impl Fields {
    fn of(data: &[u8]) -> Self {
        let mut walk = Walk { data, at: 4, fields: Vec::new() };
        // It ends where the header stops making sense.
        let _ = walk.header();
        Self(walk.fields)
    }
}

struct Walk<'a> {
    data: &'a [u8],
    at: usize,
    fields: Vec<Field>,
}

/// More entries than a mutation needs to know.
const ENTRIES_MAX: u64 = 1000;

impl Walk<'_> {
    fn header(&mut self) -> Option<()> {
        self.u32()?;
        let tensors = self.u64()?;
        let entries = self.u64()?;
        for _ in 0..entries.min(ENTRIES_MAX) {
            self.text()?;
            let kind = self.u32()?;
            self.value(kind)?;
        }
        for _ in 0..tensors.min(ENTRIES_MAX) {
            self.text()?;
            let dims = self.u32()?;
            for _ in 0..dims.min(8) {
                self.u64()?;
            }
            self.u32()?;
            self.u64()?;
        }
        Some(())
    }

    fn value(&mut self, kind: u32) -> Option<()> {
        match kind {
            0 | 1 | 7 => self.skip(1),
            2 | 3 => self.skip(2),
            4..=6 => self.u32().map(drop),
            8 => self.text(),
            10..=12 => self.u64().map(drop),
            9 => {
                let kind = self.u32()?;
                let count = self.u64()?;
                (kind != 9).then_some(())?;
                (0..count.min(ENTRIES_MAX)).try_for_each(|_| self.value(kind))
            }
            _ => None,
        }
    }

    fn skip(&mut self, len: usize) -> Option<()> {
        self.at = self.at.checked_add(len).filter(|at| *at <= self.data.len())?;
        Some(())
    }

    fn u32(&mut self) -> Option<u32> {
        let at = self.at;
        self.skip(4)?;
        self.fields.push(Field::U32 { at });
        Some(u32::from_le_bytes(self.data.get(at..at + 4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        let at = self.at;
        self.skip(8)?;
        self.fields.push(Field::U64 { at });
        Some(u64::from_le_bytes(self.data.get(at..at + 8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<()> {
        let at = self.at;
        let len = usize::try_from(self.u64()?).ok()?;
        self.skip(len)?;
        self.fields.push(Field::Text { at, len });
        Some(())
    }
}
