//! The methods of Python's strings and dictionaries that chat templates call.
//!
//! Letters change case in ASCII only, so that no result hangs on a version of Unicode's tables.

use std::slice::from_ref;

use minijinja::value::{Kwargs, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};

use super::operators::{Look, pay};

/// Bytes that one unit of fuel pays for, as in the engine's own filters.
pub(super) const BYTES_PER_FUEL: u64 = 64;

/// Calls a method that the engine itself does not know.
pub(super) fn call_method(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    // A method reads its text at most a few times.
    let read: usize = args.iter().chain([value]).filter_map(|text| text.as_str()).map(str::len).sum();
    state.consume_fuel(1 + read as u64 / BYTES_PER_FUEL)?;
    match (value.kind(), value.as_str()) {
        (ValueKind::String, Some(text)) => string_method(state, text, method, args),
        (ValueKind::Map, _) => map_method(state, value, method, args),
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

fn string_method(state: &mut State, text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    match method {
        "strip" => strip(state, text, args, Side::Both),
        "lstrip" => strip(state, text, args, Side::Left),
        "rstrip" => strip(state, text, args, Side::Right),
        "split" => split(state, text, args),
        "rsplit" => rsplit(state, text, args),
        "splitlines" => no_args(args).and_then(|()| list(state, || text.lines())),
        "startswith" => affix(state, args, |prefix| text.starts_with(prefix)),
        "endswith" => affix(state, args, |suffix| text.ends_with(suffix)),
        "removeprefix" => from_args::<(&str,)>(args).map(|(p,)| text.strip_prefix(p).unwrap_or(text).into()),
        "removesuffix" => from_args::<(&str,)>(args).map(|(s,)| text.strip_suffix(s).unwrap_or(text).into()),
        "find" => from_args::<(&str,)>(args).map(|(part,)| position(text, text.find(part))),
        "rfind" => from_args::<(&str,)>(args).map(|(part,)| position(text, text.rfind(part))),
        "count" => from_args::<(&str,)>(args).map(|(part,)| text.matches(part).count().into()),
        "upper" => no_args(args).map(|()| upper(text).into()),
        "lower" => no_args(args).map(|()| lower(text).into()),
        "title" => no_args(args).map(|()| title(text).into()),
        "capitalize" => no_args(args).map(|()| capitalize(text).into()),
        "replace" => {
            let (from, to, count): (&str, &str, Option<i64>) = from_args(args)?;
            let count = count.map_or(Value::from(()), Value::from);
            state.apply_filter("replace", &[text.into(), from.into(), to.into(), count])
        }
        "format" => format(state, text, args),
        "join" => {
            let (items,): (&Value,) = from_args(args)?;
            state.apply_filter("join", &[items.clone(), text.into()])
        }
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

fn map_method(state: &mut State, map: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    match method {
        "get" => {
            let (key, default): (&Value, Option<&Value>) = from_args(args)?;
            pay(state, key, Look::Shape)?;
            let found = map.get_item(key)?;
            Ok(if found.is_undefined() { default.cloned().unwrap_or(().into()) } else { found })
        }
        "items" => no_args(args).and_then(|()| state.apply_filter("items", from_ref(map))),
        "keys" => no_args(args).and_then(|()| state.apply_filter("list", from_ref(map))),
        "values" => {
            no_args(args)?;
            let items = state.apply_filter("items", from_ref(map))?;
            state.apply_filter("map", &[items, "last".into()])
        }
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

fn no_args(args: &[Value]) -> Result<(), Error> {
    from_args::<()>(args)
}

fn refused(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    Both,
}

fn strip(state: &State, text: &str, args: &[Value], side: Side) -> Result<Value, Error> {
    let (chars,): (Option<&str>,) = from_args(args)?;
    // Each character of the text may be looked for among all that are stripped.
    let steps = chars.map_or(0, str::len).saturating_mul(text.len());
    state.consume_fuel(steps as u64 / BYTES_PER_FUEL)?;
    let strips = |c: char| chars.map_or(c.is_whitespace(), |chars| chars.contains(c));
    let text = if side == Side::Right { text } else { text.trim_start_matches(strips) };
    Ok(if side == Side::Left { text } else { text.trim_end_matches(strips) }.into())
}

fn split(state: &State, text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, maxsplit, named): (Option<&str>, Option<i64>, Kwargs) = from_args(args)?;
    let parts = parts_max(maxsplit.map_or_else(|| named.get("maxsplit"), |splits| Ok(Some(splits)))?);
    named.assert_all_used()?;
    match separator {
        None if parts < usize::MAX => list(state, || Words { rest: text, parts }),
        None => list(state, || text.split_whitespace()),
        Some("") => Err(refused("splitting at an empty separator")),
        Some(separator) => list(state, || text.splitn(parts, separator)),
    }
}

/// The first words of a text, and what follows them as the last.
struct Words<'t> {
    rest: &'t str,
    parts: usize,
}

impl<'t> Iterator for Words<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let rest = self.rest.trim_start();
        self.parts = self.parts.checked_sub(1)?;
        let end = if self.parts == 0 { None } else { rest.find(char::is_whitespace) };
        let (word, rest) = rest.split_at(end.unwrap_or(rest.len()));
        self.rest = rest;
        Some(word).filter(|word| !word.is_empty())
    }
}

/// `{}` and `{0}` of Python's `str.format`, without names and forms.
fn format(state: &State, text: &str, args: &[Value]) -> Result<Value, Error> {
    let mut formatted = String::with_capacity(text.len());
    let mut rest = text;
    let mut fields = 0;
    while let Some(at) = rest.find(['{', '}']) {
        formatted.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{{").or(rest.strip_prefix("}}")) {
            formatted.push_str(&rest[..1]);
            rest = after;
            continue;
        }
        let field = rest.strip_prefix('{').and_then(|field| field.split_once('}'));
        let (name, after) = field.ok_or_else(|| refused("a brace without its other"))?;
        let index = if name.is_empty() { Ok(fields) } else { name.parse() };
        let index: usize = index.map_err(|_| refused("a field that is no number"))?;
        let value = args.get(index).ok_or_else(|| refused("a field without a value"))?;
        pay(state, value, Look::Text)?;
        formatted.push_str(&value.to_string());
        fields += 1;
        rest = after;
    }
    formatted.push_str(rest);
    Ok(formatted.into())
}

fn rsplit(state: &State, text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, maxsplit, named): (&str, Option<i64>, Kwargs) = from_args(args)?;
    let parts = parts_max(maxsplit.map_or_else(|| named.get("maxsplit"), |splits| Ok(Some(splits)))?);
    named.assert_all_used()?;
    if separator.is_empty() {
        return Err(refused("splitting at an empty separator"));
    }
    list(state, || text.rsplitn(parts, separator))?.reverse()
}

/// How many parts a split makes: all of them when Python's `maxsplit` is negative or missing.
fn parts_max(maxsplit: Option<i64>) -> usize {
    maxsplit.and_then(|splits| usize::try_from(splits).ok()).map_or(usize::MAX, |n| n.saturating_add(1))
}

/// A list of texts, paid for before it takes memory.
fn list<'t, I: Iterator<Item = &'t str>>(state: &State, parts: impl Fn() -> I) -> Result<Value, Error> {
    state.consume_fuel(parts().count() as u64)?;
    Ok(parts().map(Value::from).collect())
}

/// `startswith` and `endswith` take one text or a tuple of them.
fn affix(state: &State, args: &[Value], holds: impl Fn(&str) -> bool) -> Result<Value, Error> {
    let (affix,): (&Value,) = from_args(args)?;
    if let Some(affix) = affix.as_str() {
        return Ok(holds(affix).into());
    }
    for affix in affix.try_iter()?.checked() {
        let affix = affix?;
        let affix = affix.as_str().ok_or_else(|| refused("comparing the ends of a text with no text"))?;
        state.consume_fuel(1 + affix.len() as u64 / BYTES_PER_FUEL)?;
        if holds(affix) {
            return Ok(true.into());
        }
    }
    Ok(false.into())
}

/// Python counts characters and says -1 for "not found".
fn position(text: &str, byte: Option<usize>) -> Value {
    byte.map_or(Value::from(-1), |byte| text[..byte].chars().count().into())
}

/// ASCII upper case.
pub(super) fn upper(text: &str) -> String {
    text.to_ascii_uppercase()
}

/// ASCII lower case.
pub(super) fn lower(text: &str) -> String {
    text.to_ascii_lowercase()
}

/// The first character in upper case, the rest in lower case.
pub(super) fn capitalize(text: &str) -> String {
    let mut text = text.to_ascii_lowercase();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// Each run of letters begins in upper case and goes on in lower case.
pub(super) fn title(text: &str) -> String {
    let mut after_letter = false;
    let mut cased = |c: char| {
        let changed = if after_letter { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
        after_letter = c.is_ascii_alphabetic();
        changed
    };
    text.chars().map(&mut cased).collect()
}
