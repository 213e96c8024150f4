//! Finds the first stop string in text that arrives in pieces.

/// Watches generated text for stop strings.
///
/// One Knuth–Morris–Pratt automaton a string: the work is linear in the text, however it is cut.
pub struct StopMatcher {
    patterns: Vec<Pattern>,
}

struct Pattern {
    bytes: Box<[u8]>,
    /// For each prefix, the length of its longest border: where to go on after a mismatch.
    borders: Box<[usize]>,
    /// How many bytes of the pattern the text now ends with.
    matched: usize,
}

impl StopMatcher {
    /// Watches for these strings; empty ones never match.
    pub fn new(stop: &[String]) -> Self {
        Self { patterns: stop.iter().map(|text| Pattern::new(text.as_bytes())).collect() }
    }

    /// Takes the next piece of text and returns the index of the stop string whose end comes first; of
    /// several that end at the same byte, the lowest. Later bytes of the piece are not looked at, so the
    /// matcher is not used again after a match.
    pub fn push(&mut self, text: &str) -> Option<u16> {
        text.bytes().find_map(|byte| self.step(byte))
    }

    /// Every automaton takes the byte, also after one has matched.
    fn step(&mut self, byte: u8) -> Option<u16> {
        let mut found = None;
        for (index, pattern) in (0u16..).zip(&mut self.patterns) {
            if pattern.step(byte) && found.is_none() {
                found = Some(index);
            }
        }
        found
    }
}

impl Pattern {
    fn new(bytes: &[u8]) -> Self {
        let mut borders = vec![0; bytes.len()];
        let mut border = 0;
        for at in 1..bytes.len() {
            while border > 0 && bytes[at] != bytes[border] {
                border = borders[border - 1];
            }
            if bytes[at] == bytes[border] {
                border += 1;
            }
            borders[at] = border;
        }
        Self { bytes: bytes.into(), borders: borders.into(), matched: 0 }
    }

    /// Whether the text, with this byte, ends with the pattern.
    fn step(&mut self, byte: u8) -> bool {
        let Some(last) = self.bytes.len().checked_sub(1) else { return false };
        if self.matched > last {
            self.matched = self.borders[last];
        }
        while self.matched > 0 && self.bytes[self.matched] != byte {
            self.matched = self.borders[self.matched - 1];
        }
        if self.bytes[self.matched] == byte {
            self.matched += 1;
        }
        self.matched > last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: the shortest prefix of the text that ends with a stop string, the lowest of these.
    fn naive(stop: &[String], text: &str) -> Option<(usize, u16)> {
        (1..=text.len()).find_map(|end| {
            let prefix = &text.as_bytes()[..end];
            let index = stop.iter().position(|s| !s.is_empty() && prefix.ends_with(s.as_bytes()))?;
            Some((end, u16::try_from(index).unwrap()))
        })
    }

    #[test]
    fn the_earliest_end_wins_and_then_the_lowest_index() {
        let stop = ["abcd", "bc", "c"].map(String::from);
        assert_eq!(StopMatcher::new(&stop).push("xabcd"), Some(1));
        let stop = ["c", "bc"].map(String::from);
        assert_eq!(StopMatcher::new(&stop).push("abc"), Some(0));
        assert_eq!(StopMatcher::new(&[]).push("abc"), None);
        assert_eq!(StopMatcher::new(&[String::new()]).push("abc"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn a_match_is_the_one_that_the_definition_gives(
            stop in prop::collection::vec("[abé]{0,5}", 0..4),
            pieces in prop::collection::vec("[abé]{0,4}", 0..10),
        ) {
            let expected = naive(&stop, &pieces.concat());
            let mut matcher = StopMatcher::new(&stop);
            let mut seen = 0;
            for piece in &pieces {
                seen += piece.len();
                let found = matcher.push(piece);
                let due = expected.filter(|(end, _)| *end <= seen).map(|(_, index)| index);
                prop_assert_eq!(found, due);
                if found.is_some() {
                    break;
                }
            }
        }
    }
}
