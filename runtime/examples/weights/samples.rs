//! Times by name and number of items, and the lines through them.

use std::collections::BTreeMap;

/// Microseconds of blocks that hold some number of one thing.
#[derive(Default)]
pub struct Samples {
    points: BTreeMap<&'static str, Vec<(f64, f64)>>,
}

impl Samples {
    pub fn add(&mut self, name: &'static str, items: usize, us: f64) {
        self.points.entry(name).or_default().push((items as f64, us));
    }

    /// Microseconds that one more item adds to a block.
    pub fn each(&self, name: &str) -> f64 {
        let empty = median(self.points["empty"].iter().map(|point| point.1).collect());
        let mut points = self.points[name].clone();
        points.push((0.0, empty));
        slope(&points).max(1.0)
    }

    /// Median of what was measured directly, not by blocks.
    pub fn direct(&self, name: &str) -> f64 {
        median(self.points[name].iter().map(|point| point.1).collect())
    }

    pub fn print(&self) {
        for name in self.points.keys().filter(|name| **name != "empty") {
            eprintln!("{name:>24} {:>10.1} us each, of {:?}", self.each(name), self.points[name]);
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x) * (point.0 - x)).sum();
    covariance / variance
}
