//! One row from many.

use super::SEGMENT;

/// The mean of rows: per element their sum, in segments of 256 rows that are added in order, divided by their
/// number.
pub fn mean_rows(rows: &[&[f32]], out: &mut [f32]) {
    for (i, out) in out.iter_mut().enumerate() {
        let segment = |total: f32, rows: &[&[f32]]| total + rows.iter().fold(0.0, |sum, row| sum + row[i]);
        *out = rows.chunks(SEGMENT).fold(0.0, segment) / rows.len() as f32;
    }
}
