//! What a model process says on standard error, as lines of the node's log.

use std::io::{BufRead, BufReader, Read};

use assay_manifest::ModelId;
use tracing::warn;

/// Bytes of a line that are read as one.
const LINE_BYTES_MAX: u64 = 1_024;

/// Lines of one process that are logged: one that is not what it should be could else fill the disk.
const LINES_MAX: usize = 200;

/// Logs lines until the process has closed its end.
pub fn pass_on(model: ModelId, from: impl Read) {
    for_each_line(
        from,
        |line| warn!(%model, line = ?String::from_utf8_lossy(line), "a model's process says"),
    );
}

/// Shows the first lines, and reads the others, so that who writes them is not held up.
fn for_each_line(from: impl Read, mut see: impl FnMut(&[u8])) {
    let (mut from, mut line, mut seen) = (BufReader::new(from), Vec::new(), 0);
    loop {
        line.clear();
        match from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            // A pipe that cannot be read says no more than one that has ended.
            Ok(0) | Err(_) => return,
            Ok(_) if seen < LINES_MAX => see(line.trim_ascii_end()),
            Ok(_) => {}
        }
        seen += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<usize> {
        let mut lines = Vec::new();
        for_each_line(text, |line| lines.push(line.len()));
        lines
    }

    #[test]
    fn lines_are_bounded_in_length_and_number() {
        assert_eq!(lines(b"one\ntwo 2\n\nthree"), [3, 5, 0, 5]);
        assert_eq!(lines(&[b'a'; 2_500]), [1_024, 1_024, 452]);
        assert_eq!(lines(&[b'\n'; 100_000]).len(), LINES_MAX);
    }
}
