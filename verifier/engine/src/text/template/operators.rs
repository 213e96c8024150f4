//! Operations of templates that pay for what they go through before they do it.
//!
//! Each is a function whose name no template can spell. It asks for the fuel and then has the engine evaluate
//! the operation itself, so that results are the engine's.

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, escape_formatter};

/// What a look at a value costs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It is compared or copied: sixteen values, or 1,024 bytes of text, a unit of fuel.
    Shape,
    /// It is written out: eight values, or 64 bytes of text, a unit of fuel.
    Text,
}

/// Filters that go through values as deep as they are: name, function, what it costs.
pub(super) const FILTERS: [(&str, &str, Look); 17] = [
    ("join", " |join", Look::Text),
    ("string", " |string", Look::Text),
    ("escape", " |escape", Look::Text),
    ("e", " |e", Look::Text),
    ("safe", " |safe", Look::Text),
    ("replace", " |replace", Look::Text),
    ("trim", " |trim", Look::Text),
    ("split", " |split", Look::Text),
    ("lines", " |lines", Look::Text),
    ("indent", " |indent", Look::Text),
    ("map", " |map", Look::Text),
    ("min", " |min", Look::Shape),
    ("max", " |max", Look::Shape),
    ("select", " |select", Look::Shape),
    ("reject", " |reject", Look::Shape),
    ("selectattr", " |selectattr", Look::Shape),
    ("rejectattr", " |rejectattr", Look::Shape),
];

/// Tests that compare.
pub(super) const TESTS: [(&str, &str, Look); 16] = [
    ("eq", " ?eq", Look::Shape),
    ("equalto", " ?equalto", Look::Shape),
    ("==", " ?==", Look::Shape),
    ("ne", " ?ne", Look::Shape),
    ("!=", " ?!=", Look::Shape),
    ("lt", " ?lt", Look::Shape),
    ("lessthan", " ?lessthan", Look::Shape),
    ("<", " ?<", Look::Shape),
    ("le", " ?le", Look::Shape),
    ("<=", " ?<=", Look::Shape),
    ("gt", " ?gt", Look::Shape),
    ("greaterthan", " ?greaterthan", Look::Shape),
    (">", " ?>", Look::Shape),
    ("ge", " ?ge", Look::Shape),
    (">=", " ?>=", Look::Shape),
    ("in", " ?in", Look::Text),
];

/// Operators of two values: function, expression, what it costs.
const BINARY: [(&str, &str, Look); 8] = [
    (" eq", "a == b", Look::Shape),
    (" ne", "a != b", Look::Shape),
    (" lt", "a < b", Look::Shape),
    (" le", "a <= b", Look::Shape),
    (" gt", "a > b", Look::Shape),
    (" ge", "a >= b", Look::Shape),
    (" in", "a in b", Look::Text),
    (" concat", "a ~ b", Look::Text),
];

/// Most items of two lists put together.
const ITEMS_MAX: usize = 100_000;

/// Makes the operations known, and has values pay before they are written out.
pub(super) fn install(environment: &mut Environment<'_>) {
    for (name, expression, look) in BINARY {
        environment.add_function(name, move |state: &State, a: Value, b: Value| {
            [&a, &b].into_iter().try_for_each(|value| pay(state, value, look))?;
            evaluate(state, expression, [("a", a), ("b", b)])
        });
    }
    for (name, function, look) in FILTERS {
        environment.add_function(function, move |state: &mut State, args: Rest<Value>| {
            args.iter().try_for_each(|value| pay(state, value, look))?;
            state.apply_filter(name, &args)
        });
    }
    for (name, function, look) in TESTS {
        environment.add_function(function, move |state: &mut State, args: Rest<Value>| {
            args.iter().try_for_each(|value| pay(state, value, look))?;
            state.perform_test(name, &args).map(Value::from)
        });
    }
    environment.add_function(" item", item);
    environment.add_function(" slice", slice);
    environment.add_function(" add", add);
    environment.add_function(" mul", mul);
    environment.add_function(" map", map);
    environment.set_formatter(|out: &mut Output, state: &mut State, value: &Value| {
        if value.as_object().is_some() {
            pay(state, value, Look::Text)?;
        }
        escape_formatter(out, state, value)
    });
}

/// Pays for everything that a value consists of, each time that it occurs.
pub(super) fn pay(state: &State, value: &Value, look: Look) -> Result<(), Error> {
    Meter::new(state, look).value(value)
}

fn evaluate<const N: usize>(
    state: &State,
    expression: &'static str,
    operands: [(&'static str, Value); N],
) -> Result<Value, Error> {
    state.env().compile_expression(expression)?.eval(Value::from_pairs(operands))
}

struct Meter<'m, 's, 'e> {
    state: &'m State<'s, 'e>,
    look: Look,
    /// In bytes of text.
    owed: u64,
}

impl<'m, 's, 'e> Meter<'m, 's, 'e> {
    const fn new(state: &'m State<'s, 'e>, look: Look) -> Self {
        Self { state, look, owed: 0 }
    }

    fn value(&mut self, value: &Value) -> Result<(), Error> {
        self.items(1)?;
        match value.kind() {
            ValueKind::String => self.text(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                value.try_iter()?.checked().try_for_each(|item| self.value(&item?))
            }
            ValueKind::Map => value.try_iter()?.checked().try_for_each(|key| {
                let key = key?;
                self.value(&key)?;
                self.value(&value.get_item(&key)?)
            }),
            _ => Ok(()),
        }
    }

    fn items(&mut self, count: usize) -> Result<(), Error> {
        let each = match self.look {
            Look::Shape => 64,
            Look::Text => 8,
        };
        self.owe(each * count as u64)
    }

    fn text(&mut self, text: &str) -> Result<(), Error> {
        self.owe(text.len() as u64)
    }

    fn owe(&mut self, bytes: u64) -> Result<(), Error> {
        let unit = match self.look {
            Look::Shape => 1024,
            Look::Text => 64,
        };
        self.owed = self.owed.saturating_add(bytes);
        let fuel = self.owed / unit;
        self.owed %= unit;
        if fuel > 0 { self.state.consume_fuel(fuel) } else { Ok(()) }
    }
}

/// `a[b]`: a text is counted to the index, and a key is hashed.
fn item(state: &State, container: Value, key: Value) -> Result<Value, Error> {
    pay(state, &key, Look::Shape)?;
    pay_once_over(state, &container)?;
    evaluate(state, "a[b]", [("a", container), ("b", key)])
}

/// `a[start:stop:step]`, taken at once.
fn slice(state: &State, value: Value, start: Value, stop: Value, step: Value) -> Result<Value, Error> {
    pay_once_over(state, &value)?;
    let operands = [("a", value), ("start", start), ("stop", stop), ("step", step)];
    taken(state, evaluate(state, "a[start:stop:step]", operands)?)
}

/// `a + b`.
fn add(state: &State, a: Value, b: Value) -> Result<Value, Error> {
    if is_list(&a) && is_list(&b) {
        let items = a.len().unwrap_or_default().saturating_add(b.len().unwrap_or_default());
        if items > ITEMS_MAX {
            return Err(Error::new(ErrorKind::InvalidOperation, "lists of more than 100,000 items together"));
        }
        Meter::new(state, Look::Shape).items(items)?;
    }
    evaluate(state, "a + b", [("a", a), ("b", b)])
}

/// `a * b`, of lists taken at once.
fn mul(state: &State, a: Value, b: Value) -> Result<Value, Error> {
    taken(state, evaluate(state, "a * b", [("a", a), ("b", b)])?)
}

/// `{key: value}`, whose keys are hashed.
fn map(state: &State, pairs: Rest<Value>) -> Result<Value, Error> {
    pairs.iter().step_by(2).try_for_each(|key| pay(state, key, Look::Shape))?;
    Ok(Value::from_pairs(pairs.as_chunks().0.iter().map(|[key, value]| (key.clone(), value.clone()))))
}

/// Pays for a text, or for the items of a list, without a look into them.
fn pay_once_over(state: &State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String => Meter::new(state, Look::Text).text(value.as_str().unwrap_or_default()),
        ValueKind::Iterable => Meter::new(state, Look::Shape).items(value.len().unwrap_or_default()),
        _ => Ok(()),
    }
}

/// A list with its items instead of one that makes them whenever somebody looks.
fn taken(state: &State, value: Value) -> Result<Value, Error> {
    if value.kind() != ValueKind::Iterable {
        return Ok(value);
    }
    let mut meter = Meter::new(state, Look::Text);
    let mut items = Vec::new();
    for item in value.try_iter()?.checked() {
        meter.items(1)?;
        items.push(item?);
    }
    Ok(Value::make_object_iterable(items, |items| Box::new(items.iter().cloned())))
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}
