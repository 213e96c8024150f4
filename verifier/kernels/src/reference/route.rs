//! Which experts a token goes to (Shazeer and others, 2017), and with what weights.

use super::exp;

/// The `chosen` experts of the greatest logits, of equal ones the lowest, in that order, with their weights: the
/// softmax over all experts, of which those of the chosen are divided by their sum.
///
/// - `exp(logit − greatest)` each; as the chosen are divided by their own sum, that of all cancels out and is not
///   computed.
/// - The sum of the chosen is taken in their order.
///
/// A NaN among the logits makes every weight NaN.
pub fn route(logits: &[f32], chosen: usize) -> Vec<(usize, f32)> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    // Stable, and NaNs have some fixed place: with one, no weight is a number.
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    order.truncate(chosen);
    let nan = logits.iter().any(|logit| logit.is_nan());
    let greatest = if nan { f32::NAN } else { logits[order[0]] };
    let weights: Vec<f32> = order.iter().map(|expert| exp(logits[*expert] - greatest)).collect();
    let sum: f32 = weights.iter().fold(0.0, |sum, weight| sum + weight);
    order.into_iter().zip(weights.into_iter().map(|weight| weight / sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_are_chosen_and_of_equals_the_lowest() {
        let routed = route(&[0.0, 2.0, -1.0, 2.0, 1.0], 3);
        assert_eq!(routed.iter().map(|(expert, _)| *expert).collect::<Vec<_>>(), [1, 3, 4]);
        assert!(routed[0].1 == routed[1].1 && routed[2].1 < routed[1].1);
        let sum: f32 = routed.iter().map(|(_, weight)| weight).sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_nan_makes_every_weight_nan() {
        for at in 0..3 {
            let mut logits = [1.0, 2.0, 3.0];
            logits[at] = f32::NAN;
            assert!(route(&logits, 2).iter().all(|(_, weight)| weight.is_nan()), "{at}");
        }
    }
}
