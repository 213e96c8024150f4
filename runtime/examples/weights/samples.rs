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

    /// Of the same blocks in another run, keeps what took less.
    pub fn keep_least(&mut self, other: &Self) {
        for (name, points) in &mut self.points {
            let others = &other.points[name];
            assert_eq!(points.len(), others.len(), "{name}: both runs are alike");
            for (kept, (items, us)) in points.iter_mut().zip(others) {
                assert_eq!(kept.0, *items, "{name}: both runs are alike");
                kept.1 = kept.1.min(*us);
            }
        }
    }

    /// Microseconds that one more item adds to a block. The line begins at blocks without any that were taken under
    /// this name, where the chain then was another than when all empty blocks were.
    pub fn each(&self, name: &str) -> f64 {
        let mut points = self.points[name].clone();
        if points.iter().all(|(items, _)| *items > 0.0) {
            points.push((0.0, self.direct("empty")));
        }
        slope(&points).max(1.0)
    }

    /// Median of what was measured directly, not by blocks.
    pub fn direct(&self, name: &str) -> f64 {
        median(self.points[name].iter().map(|point| point.1).collect())
    }

    pub fn print(&self) {
        for (name, points) in &self.points {
            let mut by_items: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
            for (items, us) in points {
                by_items.entry(*items as u64).or_default().push(*us);
            }
            let each = if by_items.len() > 1 { self.each(name) } else { self.direct(name) };
            let medians: Vec<String> = by_items
                .into_iter()
                .map(|(items, us)| format!("{items}: {:.0} ({})", median(us.clone()), us.len()))
                .collect();
            eprintln!("{name:>24} {each:>10.1} us each; median of blocks by items: {}", medians.join(", "));
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median of the slopes between all points of different numbers of items (P. K. Sen, Journal of the American
/// Statistical Association 63, 1968): single blocks that took long, as a store's commit may, do not bend the line.
fn slope(points: &[(f64, f64)]) -> f64 {
    let slopes = points.iter().enumerate().flat_map(|(index, (x, y))| {
        let later = points[index + 1..].iter().filter(move |point| point.0 != *x);
        later.map(move |point| (point.1 - y) / (point.0 - x))
    });
    median(slopes.collect())
}
