//! Where a training run that was stopped goes on: weights, the optimiser's means and the number of steps done,
//! in one safetensors file.

use crate::error::TrainerError;
use crate::model::Model;
use crate::optimizer::{AdamW, Gradient};
use candle_core::{Device, Tensor, safetensors};
use std::collections::HashMap;
use std::path::Path;

const STEPS: &str = "steps";

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

fn name(part: &str, parameter: usize) -> String {
    format!("{part}.{parameter}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Shape;

    fn model(seed: u64) -> Model {
        let shape = Shape {
            hidden: 16,
            layers: 2,
            heads: 2,
            kv_heads: 1,
            feed_forward: 24,
            context: 8,
            rope_theta: 100.0,
            norm_eps: 1e-5,
        };
        Model::new(shape, 20, seed).unwrap()
    }

    fn weights(model: &Model) -> Gradient {
        let values = model.parameters().into_iter().map(|parameter| parameter.flatten_all().unwrap());
        values.map(|values| values.to_vec1().unwrap()).collect()
    }

    #[test]
    fn a_checkpoint_brings_back_weights_means_and_steps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        let (saved, mut optimizer) = (model(1), AdamW::new(&model(1)));
        optimizer.mean.iter_mut().flatten().for_each(|value| *value = 0.5);
        optimizer.square.iter_mut().flatten().for_each(|value| *value = 0.25);
        save(&path, &saved, &optimizer, 7).unwrap();

        let (resumed, mut resumed_optimizer) = (model(2), AdamW::new(&model(2)));
        assert_ne!(weights(&resumed), weights(&saved));
        assert_eq!(resume(&path, &resumed, &mut resumed_optimizer).unwrap(), 7);
        assert_eq!(weights(&resumed), weights(&saved));
        assert_eq!(resumed_optimizer.mean, optimizer.mean);
        assert_eq!(resumed_optimizer.square, optimizer.square);
    }

    #[test]
    fn without_a_checkpoint_training_starts_at_step_0() {
        let dir = tempfile::tempdir().unwrap();
        let (model, mut optimizer) = (model(1), AdamW::new(&model(1)));
        assert_eq!(resume(&dir.path().join("none"), &model, &mut optimizer).unwrap(), 0);
    }
}
