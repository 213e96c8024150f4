//! Changes to JSON documents that leave them documents.

use serde_json::Value;

use crate::random::Random;

/// One value of the document replaced.
pub fn mutate(data: &[u8], seed: u64) -> Option<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(data).ok()?;
    let mut random = Random::new(seed);
    let places = places(&document);
    let place = random.pick(&places)?.clone();
    let value = another(&document, &place, &mut random);
    *at(&mut document, &place)? = value;
    Some(document.to_string().into_bytes())
}

/// A way into a document: an index a level.
type Place = Vec<usize>;

/// Every value of a document, the document itself too.
fn places(document: &Value) -> Vec<Place> {
    fn walk(value: &Value, path: &mut Place, found: &mut Vec<Place>) {
        found.push(path.clone());
        let count = match value {
            Value::Array(items) => items.len(),
            Value::Object(fields) => fields.len(),
            _ => 0,
        };
        for index in 0..count {
            path.push(index);
            if let Some(inner) = inner(value, index) {
                walk(inner, path, found);
            }
            path.pop();
        }
    }
    let mut found = Vec::new();
    walk(document, &mut Vec::new(), &mut found);
    found
}

fn inner(value: &Value, index: usize) -> Option<&Value> {
    match value {
        Value::Array(items) => items.get(index),
        Value::Object(fields) => fields.values().nth(index),
        _ => None,
    }
}

/// The value at a place.
fn at<'a>(document: &'a mut Value, place: &[usize]) -> Option<&'a mut Value> {
    place.iter().try_fold(document, |value, index| match value {
        Value::Array(items) => items.get_mut(*index),
        Value::Object(fields) => fields.values_mut().nth(*index),
        _ => None,
    })
}

/// Something else for a place: of its type but another value, from elsewhere in the document, or of another
/// type.
fn another(document: &Value, place: &[usize], random: &mut Random) -> Value {
    let old = place.iter().try_fold(document, |value, index| inner(value, *index)).unwrap_or(&Value::Null);
    match random.below(5) {
        0 => {
            let places = places(document);
            let other = random.pick(&places).cloned().unwrap_or_default();
            other
                .iter()
                .try_fold(document, |value, index| inner(value, *index))
                .cloned()
                .unwrap_or(Value::Null)
        }
        1 => [Value::Null, true.into(), "".into(), (-1).into(), 1e300.into(), u64::MAX.into()]
            [random.below(6)]
        .clone(),
        _ => like(old, random),
    }
}

fn like(old: &Value, random: &mut Random) -> Value {
    match old {
        Value::Null => random.next().into(),
        Value::Bool(value) => (!value).into(),
        Value::Number(number) => random.near(number.as_u64().unwrap_or(0)).into(),
        Value::String(text) => other_text(text, random).into(),
        Value::Array(items) => {
            let mut items = items.clone();
            let index = random.below(items.len());
            match (random.below(3), items.get(index).cloned()) {
                (0, Some(item)) => items.insert(index, item),
                (1, Some(_)) => drop(items.remove(index)),
                _ => items.reverse(),
            }
            items.into()
        }
        Value::Object(fields) => {
            let mut fields = fields.clone();
            let key = fields.keys().nth(random.below(fields.len())).cloned();
            key.into_iter().for_each(|key| drop(fields.remove(&key)));
            fields.into()
        }
    }
}

/// A text with one character replaced by one of its alphabet, cut off, or longer.
fn other_text(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let index = random.below(chars.len());
    match random.below(4) {
        0 => chars.truncate(index),
        1 => chars.insert(index, '0'),
        2 => chars.push('é'),
        _ => {
            let alphabet: Vec<char> = "0123456789abcdefx-_/".chars().collect();
            let put = random.pick(&alphabet).copied().unwrap_or('0');
            chars.get_mut(index).into_iter().for_each(|c| *c = put);
        }
    }
    chars.into_iter().collect()
}
