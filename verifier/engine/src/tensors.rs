//! The tensors of a model file, taken one by one: of supported types, in the right shapes, finite.

use std::collections::HashMap;
use std::ops::Range;

use assay_kernels::reference::row_values;
use assay_kernels::{Arena, Matrix, PackError, Pool, ReadError, WeightType};
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::TensorInfo;

use crate::load::{LoadError, LoadOptions};
use crate::source::WeightSource;

/// The tensors that have not been taken yet.
pub(crate) struct Tensors<'a> {
    pool: &'a Pool,
    /// Where all matrices go.
    arena: Arena,
    source: &'a dyn WeightSource,
    tensors: HashMap<String, TensorInfo>,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
}

impl<'a> Tensors<'a> {
    /// All tensors of a file, to be packed on these threads.
    ///
    /// # Errors
    /// [`LoadError::TooLarge`] when together they are above the limit.
    pub fn new(
        pool: &'a Pool,
        source: &'a dyn WeightSource,
        tensors: Vec<TensorInfo>,
        options: &LoadOptions,
        progress: &'a mut dyn FnMut(u64, u64),
    ) -> Result<Self, LoadError> {
        let total = tensors.iter().map(|tensor| tensor.nbytes).sum();
        if total > options.tensor_bytes_max {
            return Err(LoadError::TooLarge { found: total, max: options.tensor_bytes_max });
        }
        let tensors = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        Ok(Self { pool, arena: Arena::default(), source, tensors, progress, done: 0, total })
    }

    /// Whether a tensor is there, and has not been taken.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`LoadError::UnexpectedTensor`] when tensors are left.
    pub fn finish(self) -> Result<(), LoadError> {
        self.tensors.into_keys().min().map_or(Ok(()), |name| Err(LoadError::UnexpectedTensor(name)))
    }

    /// A matrix `[rows, cols]`, which must be there.
    pub fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix, LoadError> {
        let matrices = self.matrices(name, None, &[(1, rows)], cols)?;
        matrices.into_iter().next().ok_or_else(|| LoadError::MissingTensor(name.to_owned()))
    }

    /// The matrices whose rows a tensor holds one after the other: `(count, rows)` of each kind. A tensor of
    /// `outer` matrices has a dimension for them.
    pub fn matrices(
        &mut self,
        name: &str,
        outer: Option<usize>,
        parts: &[(usize, usize)],
        cols: usize,
    ) -> Result<Vec<Matrix>, LoadError> {
        let rows: usize = parts.iter().map(|(count, rows)| count * rows).sum();
        let tensor = match outer {
            None => self.take(name, &[rows, cols])?,
            Some(outer) => self.take(name, &[outer, rows / outer, cols])?,
        };
        let type_error = || LoadError::Type { tensor: name.to_owned(), dtype: tensor.dtype };
        let weight_type = weight_type(tensor.dtype).ok_or_else(type_error)?;
        let row_bytes = weight_type.row_bytes(cols).unwrap_or(usize::MAX) as u64;
        let mut offset = tensor.offset;
        let mut matrices = Vec::new();
        for rows in parts.iter().flat_map(|(count, rows)| std::iter::repeat_n(*rows, *count)) {
            let read = |range: Range<usize>, out: &mut [u8]| {
                self.source.read_at(offset + range.start as u64 * row_bytes, out)
            };
            let matrix = Matrix::read(self.pool, &self.arena, weight_type, rows, cols, &read);
            matrices.push(matrix.map_err(|error| match error {
                ReadError::Source(cause) => LoadError::Source { tensor: name.to_owned(), cause },
                ReadError::Pack(cause) => LoadError::Weights { tensor: name.to_owned(), cause },
            })?);
            offset += rows as u64 * row_bytes;
        }
        self.count(&tensor);
        Ok(matrices)
    }

    /// `len` numbers of F32, all finite.
    pub fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let tensor = self.take(name, &[len])?;
        if tensor.dtype != DType::F32 {
            return Err(LoadError::Type { tensor: name.to_owned(), dtype: tensor.dtype });
        }
        self.numbers_of(&tensor, WeightType::F32, len)
    }

    /// `len` numbers of F32, F16 or BF16, all finite, widened exactly.
    pub fn numbers(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let tensor = self.take(name, &[len])?;
        match weight_type(tensor.dtype).filter(|weight_type| weight_type.integers().is_none()) {
            Some(weight_type) => self.numbers_of(&tensor, weight_type, len),
            None => Err(LoadError::Type { tensor: name.to_owned(), dtype: tensor.dtype }),
        }
    }

    fn numbers_of(
        &mut self,
        tensor: &TensorInfo,
        weight_type: WeightType,
        len: usize,
    ) -> Result<Vec<f32>, LoadError> {
        let name = || tensor.name.clone();
        // The parser checked that the data lies within the file.
        let mut bytes = vec![0; weight_type.row_bytes(len).unwrap_or(0)];
        self.source
            .read_at(tensor.offset, &mut bytes)
            .map_err(|cause| LoadError::Source { tensor: name(), cause })?;
        self.count(tensor);
        let values = row_values(weight_type, &bytes);
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(LoadError::Weights { tensor: name(), cause: PackError::NotFinite { row: 0 } }),
        }
    }

    /// Takes a tensor that must have this shape.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<TensorInfo, LoadError> {
        let missing = || LoadError::MissingTensor(name.to_owned());
        let tensor = self.tensors.remove(name).ok_or_else(missing)?;
        let found = tensor.shape();
        if !found.iter().copied().eq(shape.iter().map(|dim| *dim as u64)) {
            return Err(LoadError::Shape { tensor: tensor.name, found, expected: shape.to_vec() });
        }
        Ok(tensor)
    }

    fn count(&mut self, tensor: &TensorInfo) {
        self.done += tensor.nbytes;
        (self.progress)(self.done, self.total);
    }
}

/// How the kernels call a type of matrices, if there is a kernel for it.
pub(crate) const fn weight_type(dtype: DType) -> Option<WeightType> {
    Some(match dtype {
        DType::F32 => WeightType::F32,
        DType::F16 => WeightType::F16,
        DType::BF16 => WeightType::BF16,
        DType::Q8_0 => WeightType::Q8_0,
        DType::Q4_0 => WeightType::Q4_0,
        DType::Q4_1 => WeightType::Q4_1,
        DType::Q5_0 => WeightType::Q5_0,
        DType::Q5_1 => WeightType::Q5_1,
        DType::Q2_K => WeightType::Q2_K,
        DType::Q3_K => WeightType::Q3_K,
        DType::Q4_K => WeightType::Q4_K,
        DType::Q5_K => WeightType::Q5_K,
        DType::Q6_K => WeightType::Q6_K,
        _ => return None,
    })
}
