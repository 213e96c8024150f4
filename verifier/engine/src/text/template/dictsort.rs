//! `dictsort` as Jinja2 defines it, for keys that are texts.

use minijinja::{Error, ErrorKind, State, Value};

use super::operators::{Look, pay};
use super::python::lower;

/// The filter: the pairs of a dictionary, by their keys. Letters are compared in lower case, of ASCII only.
pub(super) fn dictsort(state: &State, map: &Value) -> Result<Value, Error> {
    let mut pairs = Vec::new();
    for key in map.try_iter()?.checked() {
        let key = key?;
        let text = key.as_str().ok_or_else(no_text)?;
        pairs.push((lower(text), Value::from(vec![key.clone(), map.get_item(&key)?])));
    }
    // Sorting compares each key with about that many others.
    for _ in 0..=pairs.len().checked_ilog2().unwrap_or(0) {
        pay(state, map, Look::Shape)?;
    }
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(pairs.into_iter().map(|(_, pair)| pair).collect())
}

fn no_text() -> Error {
    Error::new(ErrorKind::InvalidOperation, "sorting a dictionary by keys that are no texts")
}
