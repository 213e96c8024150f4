//! `dictsort` as Jinja2 defines it, for keys that are all texts or all integers.

use minijinja::{Error, ErrorKind, State, Value};

use super::operators::{Look, pay};
use super::python::lower;

/// The filter: the pairs of a dictionary, by their keys. Letters are compared in lower case, of ASCII only.
pub(super) fn dictsort(state: &State, map: &Value) -> Result<Value, Error> {
    let mut pairs = Vec::new();
    for key in map.try_iter()?.checked() {
        let key = key?;
        let sorted_by = match key.as_str() {
            Some(text) => Key::Text(lower(text)),
            None => Key::Number(i64::try_from(key.clone())?),
        };
        pairs.push((sorted_by, Value::from(vec![key.clone(), map.get_item(&key)?])));
    }
    let texts = pairs.iter().filter(|(key, _)| matches!(key, Key::Text(_))).count();
    if texts > 0 && texts < pairs.len() {
        return Err(Error::new(ErrorKind::InvalidOperation, "sorting texts and numbers together"));
    }
    // Sorting compares each key with about that many others.
    for _ in 0..=pairs.len().checked_ilog2().unwrap_or(0) {
        pay(state, map, Look::Shape)?;
    }
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(pairs.into_iter().map(|(_, pair)| pair).collect())
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i64),
    Text(String),
}
