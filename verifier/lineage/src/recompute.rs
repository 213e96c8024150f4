//! Recomputing an edge: the parent goes through the recipe, and the result is compared with the child.

use crate::convert::{GgufType, gguf_from_transformers};
use crate::error::LineageError;
use crate::source::TransformersSource;
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::{Gguf, TensorInfo};
use assay_manifest::lineage::EdgeKind;
use std::collections::BTreeSet;

/// What recomputing an edge found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The child is what the recipe makes of the parent, byte for byte: evidence V3.
    Equal,
    /// It is not.
    Differs(Difference),
}

/// The first thing in which the child differs from what the recipe makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A tensor that has other values, type or shape, or that only one of the two has.
    Tensor(String),
    /// All tensors are equal, but a metadata key has another value, or only one of the two has it.
    Metadata(String),
    /// Tensors and metadata are equal, the file's layout is not.
    Layout,
}

/// Recomputes a `quantized_from` or `converted_from` edge from a model in the layout of transformers to a
/// GGUF file.
///
/// # Errors
/// When the edge's kind has no recipe or does not fit the child's element type, the child is no GGUF file,
/// or the recipe does not cover the parent.
pub fn recompute(
    kind: EdgeKind,
    parent: &TransformersSource<'_>,
    child: &[u8],
) -> Result<Verdict, LineageError> {
    let child_header = Gguf::parse(child, child.len() as u64)?;
    let gguf_type = child_type(kind, &child_header)?;
    let expected = gguf_from_transformers(parent, gguf_type)?;
    if expected == child {
        return Ok(Verdict::Equal);
    }
    let expected_header = Gguf::parse(expected.as_slice(), expected.len() as u64)?;
    let difference = first_difference(
        &View { header: &expected_header, file: &expected },
        &View { header: &child_header, file: child },
    );
    Ok(Verdict::Differs(difference))
}

/// The type that the recipe has to make: that of the child's first matrix.
fn child_type(kind: EdgeKind, child: &Gguf) -> Result<GgufType, LineageError> {
    let fits: &[GgufType] = match kind {
        EdgeKind::QuantizedFrom => &[GgufType::Q8_0, GgufType::Q4_0],
        EdgeKind::ConvertedFrom => &[GgufType::F32, GgufType::F16],
        _ => return Err(LineageError::NoRecipe(kind)),
    };
    let matrix = child.tensors.iter().find(|tensor| tensor.dims.len() == 2);
    let found: Option<DType> = matrix.map(|tensor| tensor.dtype);
    let made = fits.iter().copied().find(|gguf_type| Some(gguf_type.dtype()) == found);
    made.ok_or(LineageError::ChildType { kind, found })
}

struct View<'a> {
    header: &'a Gguf,
    file: &'a [u8],
}

impl View<'_> {
    /// Type, dimensions and bytes of a tensor.
    fn tensor(&self, name: &str) -> Option<(DType, &[u64], &[u8])> {
        let TensorInfo { dtype, dims, offset, nbytes, .. } = self.header.tensor(name)?;
        let start = *offset as usize;
        Some((*dtype, dims, &self.file[start..start + *nbytes as usize]))
    }
}

/// The first difference in the order of the expected file; what only the child has comes after.
fn first_difference(expected: &View<'_>, child: &View<'_>) -> Difference {
    let names = expected.header.tensors.iter().chain(&child.header.tensors).map(|tensor| &tensor.name);
    let mut differing = names.filter(|name| expected.tensor(name) != child.tensor(name));
    if let Some(name) = differing.next() {
        return Difference::Tensor(name.clone());
    }
    let keys: BTreeSet<&String> =
        expected.header.metadata.keys().chain(child.header.metadata.keys()).collect();
    match keys.into_iter().find(|key| expected.header.get(key) != child.header.get(key)) {
        Some(key) => Difference::Metadata(key.clone()),
        None => Difference::Layout,
    }
}
