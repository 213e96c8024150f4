//! AdamW (Loshchilov and Hutter 2019) with a limit on the gradient's length.

use crate::model::Model;
use crate::recipe::Step;
use candle_core::{Result, Tensor, Var};

/// A gradient: one list of numbers a parameter, in the order of [`Model::parameters`].
pub type Gradient = Vec<Vec<f32>>;

/// Running means of the gradient and of its square.
pub struct AdamW {
    /// Mean of gradients.
    pub mean: Gradient,
    /// Mean of squares.
    pub square: Gradient,
}

/// What an update does to every number.
struct Update {
    scale: f32,
    rate: f32,
    beta1: f32,
    beta2: f32,
    mean_correction: f32,
    square_correction: f32,
}

/// Keeps the division finite where gradients vanish.
const EPSILON: f32 = 1e-8;

impl AdamW {
    /// Starts with means of zero.
    pub fn new(model: &Model) -> Self {
        let zeros: Gradient =
            model.parameters().iter().map(|parameter| vec![0.0; parameter.elem_count()]).collect();
        Self { mean: zeros.clone(), square: zeros }
    }

    /// Updates the parameters at step `step` (from 0 on) and returns the gradient's length.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn update(
        &mut self,
        model: &Model,
        gradient: &Gradient,
        settings: &Step,
        step: usize,
        rate: f32,
    ) -> Result<f32> {
        let length = length(gradient);
        let update = Update {
            scale: (settings.gradient_norm_max / length).min(1.0),
            rate,
            beta1: settings.beta1,
            beta2: settings.beta2,
            mean_correction: correction(settings.beta1, step),
            square_correction: correction(settings.beta2, step),
        };
        let means = self.mean.iter_mut().zip(&mut self.square);
        for ((parameter, gradient), (mean, square)) in model.parameters().into_iter().zip(gradient).zip(means)
        {
            let mut weights = parameter.flatten_all()?.to_vec1::<f32>()?;
            let decay = if parameter.rank() == 2 { settings.weight_decay } else { 0.0 };
            update.apply(&mut weights, gradient, mean, square, decay);
            parameter.set(&Tensor::from_vec(weights, parameter.shape(), parameter.device())?)?;
        }
        Ok(length)
    }
}

impl Update {
    fn apply(&self, weights: &mut [f32], gradient: &[f32], mean: &mut [f32], square: &mut [f32], decay: f32) {
        for i in 0..weights.len() {
            let gradient = gradient[i] * self.scale;
            mean[i] = self.beta1 * mean[i] + (1.0 - self.beta1) * gradient;
            square[i] = self.beta2 * square[i] + (1.0 - self.beta2) * gradient * gradient;
            let direction =
                mean[i] * self.mean_correction / ((square[i] * self.square_correction).sqrt() + EPSILON);
            weights[i] -= self.rate * (direction + decay * weights[i]);
        }
    }
}

/// `1 / (1 - beta^(step + 1))`, by repeated squaring: the means start at zero.
fn correction(beta: f32, step: usize) -> f32 {
    let (mut power, mut base, mut exponent) = (1f64, f64::from(beta), step + 1);
    while exponent > 0 {
        if exponent % 2 == 1 {
            power *= base;
        }
        base *= base;
        exponent /= 2;
    }
    (1.0 / (1.0 - power)) as f32
}

fn length(gradient: &Gradient) -> f32 {
    let squares = gradient.iter().map(|part| part.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>());
    squares.sum::<f64>().sqrt() as f32
}

/// The gradient of a loss with respect to the model's parameters.
///
/// # Errors
/// When a parameter takes no part in the loss.
pub fn gradient(model: &Model, loss: &Tensor) -> Result<Gradient> {
    let gradients = loss.backward()?;
    let of = |parameter: &Var| match gradients.get(parameter) {
        Some(gradient) => gradient.flatten_all()?.to_vec1::<f32>(),
        None => candle_core::bail!("a parameter takes no part in the loss"),
    };
    model.parameters().into_iter().map(of).collect()
}

/// Mean of the shards' gradients, summed in their order.
pub fn mean(gradients: Vec<Gradient>) -> Gradient {
    let scale = 1.0 / gradients.len() as f32;
    let add = |mut sum: Gradient, next: Gradient| {
        for (sum, next) in sum.iter_mut().zip(next) {
            sum.iter_mut().zip(next).for_each(|(sum, next)| *sum += next);
        }
        sum
    };
    let mut sum = gradients.into_iter().reduce(add).unwrap_or_default();
    sum.iter_mut().flatten().for_each(|value| *value *= scale);
    sum
}
