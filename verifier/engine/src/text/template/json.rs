//! `tojson` as transformers defines it: Python's `json.dumps` without escapes for HTML or Unicode.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::python::BYTES_PER_FUEL;

/// Deepest nesting that is written.
const DEPTH_MAX: usize = 64;

/// The filter: `value | tojson`, with Python's `indent` and `ensure_ascii`.
pub(super) fn tojson(state: &State, value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    if indent.is_some_and(|indent| indent > 16) {
        return Err(failed("an indent above 16"));
    }
    let mut writer = Writer { state, indent, letters: Letters::of(ascii), text: String::new() };
    writer.value(value, 0)?;
    Ok(writer.text.into())
}

fn failed(what: &str) -> Error {
    Error::new(ErrorKind::BadSerialization, format!("writing json: {what} is not supported"))
}

/// How characters outside ASCII are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Letters {
    AsTheyAre,
    Escaped,
}

impl Letters {
    fn of(ensure_ascii: Option<bool>) -> Self {
        if ensure_ascii.unwrap_or(false) { Self::Escaped } else { Self::AsTheyAre }
    }
}

struct Writer<'s, 'e> {
    state: &'s State<'e, 'e>,
    indent: Option<usize>,
    letters: Letters,
    text: String,
}

impl Writer<'_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(failed("a nesting of more than 64"));
        }
        match value.kind() {
            ValueKind::None => self.push("null"),
            ValueKind::Bool | ValueKind::Number => self.push(&value.to_string().to_ascii_lowercase()),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth),
            ValueKind::Map => self.map(value, depth),
            kind => Err(failed(&format!("a value of kind {kind}"))),
        }
    }

    fn list(&mut self, list: &Value, depth: usize) -> Result<(), Error> {
        self.push("[")?;
        let mut count = 0;
        for item in list.try_iter()?.checked() {
            self.separate(count, depth + 1)?;
            self.value(&item?, depth + 1)?;
            count += 1;
        }
        self.close("]", count, depth)
    }

    fn map(&mut self, map: &Value, depth: usize) -> Result<(), Error> {
        self.push("{")?;
        let mut count = 0;
        for key in map.try_iter()?.checked() {
            let key = key?;
            self.separate(count, depth + 1)?;
            self.string(key.as_str().ok_or_else(|| failed("a key that is no text"))?)?;
            self.push(": ")?;
            self.value(&map.get_item(&key)?, depth + 1)?;
            count += 1;
        }
        self.close("}", count, depth)
    }

    fn separate(&mut self, count: usize, depth: usize) -> Result<(), Error> {
        match (self.indent, count) {
            (None, 0) => Ok(()),
            (None, _) => self.push(", "),
            (Some(_), 0) => self.new_line(depth),
            (Some(_), _) => self.push(",").and_then(|()| self.new_line(depth)),
        }
    }

    fn close(&mut self, bracket: &str, count: usize, depth: usize) -> Result<(), Error> {
        if self.indent.is_some() && count > 0 {
            self.new_line(depth)?;
        }
        self.push(bracket)
    }

    fn new_line(&mut self, depth: usize) -> Result<(), Error> {
        let spaces = depth * self.indent.unwrap_or(0);
        self.push(&format!("\n{:spaces$}", ""))
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        let mut quoted = String::with_capacity(text.len() + 2);
        quoted.push('"');
        for c in text.chars() {
            match c {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\u{8}' => quoted.push_str("\\b"),
                '\u{c}' => quoted.push_str("\\f"),
                '\0'..='\u{1f}' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
                '\u{7f}'.. if self.letters == Letters::Escaped => {
                    quoted.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
                }
                _ => quoted.push(c),
            }
        }
        quoted.push('"');
        self.push(&quoted)
    }

    /// Every write is paid for, so that the fuel bounds the text.
    fn push(&mut self, text: &str) -> Result<(), Error> {
        self.state.consume_fuel(1 + text.len() as u64 / BYTES_PER_FUEL)?;
        self.text.push_str(text);
        Ok(())
    }
}
