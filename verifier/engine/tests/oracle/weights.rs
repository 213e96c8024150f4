//! What candle dequantises of the random weights: that they are as large as they are said to be.

use assay_engine::synthetic::Synthetic;
use assay_kernels::WeightType;
use candle_core::{Result, Tensor};

use crate::file::File;

#[test]
fn random_weights_have_the_stated_variance_in_every_type() {
    for weight_type in WeightType::ALL {
        let synthetic = Synthetic::of(weight_type);
        let file = File::read(&synthetic.gguf().unwrap()).unwrap();
        let (mean, variance) = moments(file.tensor("blk.0.attn_q.weight")).unwrap();
        // Uniform weights within the reach have a third of its square as their variance.
        let stated = f64::from(synthetic.reach * synthetic.reach) / 3.0 / synthetic.hidden as f64;
        let (shift, ratio) = (mean / stated.sqrt(), variance / stated);
        println!("{weight_type:?}: mean {shift:.3} deviations, variance {ratio:.3} of what is stated");
        assert!(shift.abs() < 0.2, "{weight_type:?}: the mean is off by {shift:.3} deviations");
        assert!((0.8..1.25).contains(&ratio), "{weight_type:?}: {ratio:.3} of the stated variance");
    }
}

fn moments(tensor: &Tensor) -> Result<(f64, f64)> {
    let mean = f64::from(tensor.mean_all()?.to_scalar::<f32>()?);
    let square = f64::from(tensor.sqr()?.mean_all()?.to_scalar::<f32>()?);
    Ok((mean, square - mean * mean))
}
