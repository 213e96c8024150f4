//! Looking for a text in files, however plainly it may be written there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use codec::{Compact, Encode};

/// Bytes with which a needle is told apart at first.
const HEAD_BYTES: usize = 4;
/// Needles are longer than anything that stands in a file by chance.
const NEEDLE_BYTES_MIN: usize = 8;
/// Encodings in which a text must be long enough.
const ENCODINGS_MIN: usize = 4;

/// A text in every plain encoding.
pub struct Needles(Vec<(&'static str, Vec<u8>)>);

impl Needles {
    /// What the text, or some of its tokens, would look like.
    pub fn of(text: &str, tokens: &[u32]) -> Self {
        let bytes = text.as_bytes();
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let ids = |to_bytes: fn(u32) -> Vec<u8>| tokens.iter().flat_map(|token| to_bytes(*token)).collect();
        let list = |separator: &str| {
            let ids: Vec<String> = tokens.iter().map(ToString::to_string).collect();
            ids.join(separator).into_bytes()
        };
        let mut needles = vec![
            ("UTF-8", bytes.to_vec()),
            ("UTF-16", wide),
            ("hex", hex::encode(bytes).into_bytes()),
            ("upper-case hex", hex::encode_upper(bytes).into_bytes()),
            ("token ids, little-endian", ids(|token| token.to_le_bytes().to_vec())),
            ("token ids, big-endian", ids(|token| token.to_be_bytes().to_vec())),
            ("token ids, compact", ids(|token| Compact(token).encode())),
            ("token ids of two bytes", ids(|token| token.to_le_bytes()[..2].to_vec())),
            ("a list of token ids", list(",")),
            ("a spaced list of token ids", list(", ")),
            ("token ids with spaces", list(" ")),
        ];
        // A text begins at any of three places in a group of base64.
        needles.extend((0..3).map(|skipped| ("base64", base64(&bytes[skipped..]).into_bytes())));
        // A short answer has encodings that may stand in a file by chance; there are always longer ones.
        needles.retain(|(_, needle)| needle.len() >= NEEDLE_BYTES_MIN);
        assert!(needles.len() >= ENCODINGS_MIN, "{text:?} is too short to look for");
        Self(needles)
    }

    /// The encodings in which the text stands in these bytes, also over several lines.
    pub fn found_in(&self, bytes: &[u8]) -> BTreeSet<&'static str> {
        let joined: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let mut found = self.found_as_it_stands(bytes);
        found.extend(self.found_as_it_stands(&joined));
        found
    }

    fn found_as_it_stands(&self, bytes: &[u8]) -> BTreeSet<&'static str> {
        let heads: Vec<_> = self.0.iter().map(|(_, needle)| &needle[..HEAD_BYTES]).collect();
        let mut found = BTreeSet::new();
        for (at, window) in bytes.windows(HEAD_BYTES).enumerate() {
            if heads.contains(&window) {
                let here = self.0.iter().filter(|(_, needle)| bytes[at..].starts_with(needle));
                found.extend(here.map(|(encoding, _)| *encoding));
            }
        }
        found
    }

    /// Every file below `dir` in which the text stands, with the encodings.
    pub fn found_below(&self, dir: &Path) -> Vec<(PathBuf, BTreeSet<&'static str>)> {
        let found = |path: PathBuf| {
            let found = self.found_in(&std::fs::read(&path).unwrap());
            (!found.is_empty()).then_some((path, found))
        };
        files_below(dir).into_iter().filter_map(found).collect()
    }

    /// The same text written in every encoding, one a file, is found in every one.
    pub fn prove_in(&self, dir: &Path) {
        for (number, (encoding, needle)) in self.0.iter().enumerate() {
            let path = dir.join(format!("planted-{number}"));
            std::fs::write(&path, [b"before".as_slice(), needle, b"after"].concat()).unwrap();
            let found = self.found_below(dir);
            assert!(found.iter().any(|(at, found)| *at == path && found.contains(encoding)), "{encoding}");
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// Every file below a directory.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// Whole groups only: what follows a text decides about the last characters.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks_exact(3) {
        let bits = group.iter().fold(0usize, |bits, byte| (bits << 8) | usize::from(*byte));
        text.extend([18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift) & 63])));
    }
    text
}

#[test]
fn base64_is_the_standard_one() {
    assert_eq!(base64(b"Many hands make light work."), "TWFueSBoYW5kcyBtYWtlIGxpZ2h0IHdvcmsu");
}
