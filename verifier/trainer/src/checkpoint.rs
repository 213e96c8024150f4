//! Where a training run that was stopped goes on.

use crate::error::TrainerError;
use crate::model::Model;
use crate::optimizer::{AdamW, Gradient};
use candle_core::{Device, Tensor, safetensors};
use std::collections::HashMap;
use std::path::Path;

/// Weights, the optimiser's means and the number of steps done, in one safetensors file.
pub struct Checkpoint;

const STEPS: &str = "steps";

impl Checkpoint {
    /// Writes a checkpoint in place of the last one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(path: &Path, model: &Model, optimizer: &AdamW, steps: usize) -> Result<(), TrainerError> {
        let mut tensors = HashMap::from([(STEPS.to_owned(), Tensor::new(steps as u32, &Device::Cpu)?)]);
        for (i, parameter) in model.parameters().into_iter().enumerate() {
            tensors.insert(name("weights", i), parameter.as_tensor().clone());
            for (part, values) in [("mean", &optimizer.mean), ("square", &optimizer.square)] {
                tensors.insert(name(part, i), Tensor::new(values[i].as_slice(), &Device::Cpu)?);
            }
        }
        let unfinished = path.with_extension("tmp");
        safetensors::save(&tensors, &unfinished)?;
        std::fs::rename(&unfinished, path).map_err(TrainerError::io("writing", path))
    }

    /// Loads the checkpoint, if there is one, and returns the number of steps done.
    ///
    /// # Errors
    /// When the file is not a checkpoint of this model.
    pub fn resume(path: &Path, model: &Model, optimizer: &mut AdamW) -> Result<usize, TrainerError> {
        if !path.exists() {
            return Ok(0);
        }
        let tensors = safetensors::load(path, &Device::Cpu)?;
        let tensor = |name: &str| match tensors.get(name) {
            Some(tensor) => Ok(tensor),
            None => candle_core::bail!("the checkpoint lacks {name}"),
        };
        let load = |part: &str, means: &mut Gradient| -> Result<(), TrainerError> {
            for (i, values) in means.iter_mut().enumerate() {
                *values = tensor(&name(part, i))?.to_vec1::<f32>()?;
            }
            Ok(())
        };
        for (i, parameter) in model.parameters().into_iter().enumerate() {
            parameter.set(tensor(&name("weights", i))?)?;
        }
        load("mean", &mut optimizer.mean)?;
        load("square", &mut optimizer.square)?;
        Ok(tensor(STEPS)?.to_scalar::<u32>()? as usize)
    }
}

fn name(part: &str, parameter: usize) -> String {
    format!("{part}.{parameter}")
}
