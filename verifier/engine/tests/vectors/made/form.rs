//! The text of a file of vectors: JSON with a case a line, whose fields stand in the order of their making.

use std::fmt::Write as _;

use assay_manifest::Digest32;

use super::draws::{Draw, Floats, Rows};

/// A file: its name and its text.
pub struct File {
    pub name: String,
    pub text: String,
}

impl File {
    /// `defines` names what `docs/NUMERICS.md` defines and the cases show.
    pub fn new(name: &str, defines: &[&str], cases: &[Case]) -> Self {
        let defines: Vec<String> = defines.iter().map(|name| format!("\"{name}\"")).collect();
        let cases: Vec<String> = cases.iter().map(|case| format!("{{{}}}", case.0)).collect();
        let text =
            format!("{{\"defines\": [{}],\n\"cases\": [\n{}\n]}}\n", defines.join(", "), cases.join(",\n"));
        Self { name: format!("{name}.json"), text }
    }
}

/// A case: inputs, settings and results by name.
pub struct Case(String);

impl Case {
    pub fn new(name: &str) -> Self {
        Self(format!("\"name\": \"{name}\""))
    }

    fn field(mut self, key: &str, json: &str) -> Self {
        write!(self.0, ", \"{key}\": {json}").expect("writing to a string");
        self
    }

    pub fn int(self, key: &str, value: usize) -> Self {
        self.field(key, &value.to_string())
    }

    pub fn ints(self, key: &str, values: &[u32]) -> Self {
        let values: Vec<String> = values.iter().map(u32::to_string).collect();
        self.field(key, &format!("[{}]", values.join(", ")))
    }

    pub fn bytes(self, key: &str, bytes: &[u8]) -> Self {
        self.field(key, &format!("\"{}\"", hex(bytes)))
    }

    pub fn digest(self, key: &str, digest: &Digest32) -> Self {
        self.bytes(key, digest.as_bytes())
    }

    pub fn digests(self, key: &str, digests: &[Digest32]) -> Self {
        let digests: Vec<String> =
            digests.iter().map(|digest| format!("\"{}\"", hex(digest.as_bytes()))).collect();
        self.field(key, &format!("[{}]", digests.join(", ")))
    }

    pub fn text(self, key: &str, text: &str) -> Self {
        self.field(key, &quoted(text))
    }

    pub fn texts(self, key: &str, texts: &[String]) -> Self {
        let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        self.field(key, &format!("[{}]", texts.join(", ")))
    }

    pub fn cases(self, key: &str, cases: &[Self]) -> Self {
        let cases: Vec<String> = cases.iter().map(|case| format!("\n {{{}}}", case.0)).collect();
        self.field(key, &format!("[{}]", cases.join(",")))
    }

    pub fn float(self, key: &str, value: f32) -> Self {
        self.floats(key, &[value])
    }

    /// Results, or inputs that are written out; every NaN is the same.
    pub fn floats(self, key: &str, values: &[f32]) -> Self {
        let bits = |value: &f32| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() };
        let bytes: Vec<u8> = values.iter().flat_map(|value| bits(value).to_le_bytes()).collect();
        self.bytes(key, &bytes)
    }

    pub fn halves(self, key: &str, values: &[u16]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(key, &bytes)
    }

    pub fn input(self, key: &str, floats: &Floats) -> Self {
        match floats.draw {
            Some(draw) => self.draw(key, draw),
            None => self.floats(key, &floats.values),
        }
    }

    pub fn rows(self, key: &str, rows: &Rows) -> Self {
        match rows.draw {
            Some(draw) => self.draw(key, draw),
            None => self.bytes(key, &rows.bytes),
        }
    }

    fn draw(self, key: &str, Draw { kind, seed, count }: Draw) -> Self {
        self.field(key, &format!("{{\"draw\": \"{kind}\", \"seed\": {seed}, \"count\": {count}}}"))
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}
