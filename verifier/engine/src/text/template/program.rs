//! A compiled template, in which no operation costs more than the fuel that it pays.
//!
//! The engine's fuel pays for instructions and for what they produce. It does not pay for what some of them
//! go through: slices of slices that are taken only when somebody looks, texts that are counted to find an
//! index, lists that hold one list many times and are compared or written out item by item. Those operations
//! are replaced by functions of ours (see [`operators`](super::operators)), which ask for the fuel first.

use std::collections::{BTreeMap, HashSet};

use minijinja::machinery::{CodeGenerator, Instruction, Instructions, eval, make_string_output, parse};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};

use super::operators::{FILTERS, TESTS};
use super::{NAME, syntax};

/// The function that makes objects which can be changed, and so could come to contain themselves.
const NAMESPACE: &str = "namespace";
/// What is refused of them.
const NAMESPACE_REFUSED: &str = "a namespace that is used other than by its attributes";
/// A method of loops that compares with values of before.
const CHANGED: &str = "changed";

/// The instructions of a template.
pub(super) struct Program<'s> {
    main: Instructions<'s>,
    blocks: BTreeMap<&'s str, Instructions<'s>>,
}

impl<'s> Program<'s> {
    /// Compiles a template.
    pub(super) fn compile(source: &'s str) -> Result<Self, Error> {
        let tree = parse(source, NAME, syntax())?;
        let mut generator = CodeGenerator::new(NAME, source);
        generator.compile_stmt(&tree);
        let (mut main, mut blocks) = generator.finish();
        let namespaces = blocks.values().chain([&main]).flat_map(namespaces).collect();
        for instructions in blocks.values_mut().chain([&mut main]) {
            check(instructions, &namespaces)?;
            replace(instructions);
        }
        Ok(Self { main, blocks })
    }

    /// What the template makes of a context.
    pub(super) fn run<'r>(&'r self, environment: &'r Environment<'r>, context: Value) -> Result<String, Error>
    where
        's: 'r,
    {
        let mut text = String::new();
        let mut output = make_string_output(&mut text);
        eval(environment, &self.main, context, &self.blocks, &mut output, AutoEscape::None)?;
        Ok(text)
    }
}

fn each<'i, 's>(instructions: &'i Instructions<'s>) -> impl Iterator<Item = &'i Instruction<'s>> {
    (0..).map_while(|index| instructions.get(index))
}

/// Names of the variables to which a namespace is assigned.
fn namespaces<'s>(instructions: &Instructions<'s>) -> Vec<&'s str> {
    let after = each(instructions).skip(1);
    let pairs = each(instructions).zip(after).filter_map(|(call, next)| match (call, next) {
        (Instruction::CallFunction(NAMESPACE, _), Instruction::StoreLocal(name)) => Some(*name),
        _ => None,
    });
    pairs.collect()
}

/// Refuses what the replaced operations do not cover.
fn check(instructions: &Instructions<'_>, namespaces: &HashSet<&str>) -> Result<(), Error> {
    let refused =
        |what: &str| Err(Error::new(ErrorKind::InvalidOperation, format!("{what} is not supported")));
    for index in 0u32.. {
        let Some(instruction) = instructions.get(index) else { break };
        let next = |ahead: u32| instructions.get(index.saturating_add(ahead));
        match instruction {
            Instruction::CompareAndPreserve(_) => return refused("a chain of comparisons"),
            Instruction::CallMethod(CHANGED, _) => return refused("the method `changed`"),
            // A namespace goes into a variable and comes out of it by its attributes only: it can be in no
            // other value, and so not in itself.
            Instruction::CallFunction(NAMESPACE, _) => match next(1) {
                Some(Instruction::StoreLocal(_)) => {}
                _ => return refused(NAMESPACE_REFUSED),
            },
            Instruction::Lookup(name) if *name == NAMESPACE || namespaces.contains(name) => {
                match (next(1), next(2)) {
                    (Some(Instruction::GetAttr(_) | Instruction::SetAttr(_)), _) if *name != NAMESPACE => {}
                    (Some(Instruction::LoadConst(_)), Some(Instruction::GetItem)) if *name != NAMESPACE => {}
                    _ => return refused(NAMESPACE_REFUSED),
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Puts calls of our functions in the place of operations; each takes as many values and leaves one.
fn replace(instructions: &mut Instructions<'_>) {
    for index in 0u32.. {
        let Some(instruction) = instructions.get_mut(index) else { break };
        let (name, count) = match instruction {
            Instruction::Slice => (" slice", Some(4)),
            Instruction::GetItem => (" item", Some(2)),
            Instruction::Add => (" add", Some(2)),
            Instruction::Mul => (" mul", Some(2)),
            Instruction::StringConcat => (" concat", Some(2)),
            Instruction::In => (" in", Some(2)),
            Instruction::Eq => (" eq", Some(2)),
            Instruction::Ne => (" ne", Some(2)),
            Instruction::Lt => (" lt", Some(2)),
            Instruction::Lte => (" le", Some(2)),
            Instruction::Gt => (" gt", Some(2)),
            Instruction::Gte => (" ge", Some(2)),
            Instruction::BuildMap(pairs) => match u16::try_from(pairs.saturating_mul(2)) {
                Ok(count) => (" map", Some(count)),
                Err(_) => continue,
            },
            Instruction::ApplyFilter(name, count, _) => match find(&FILTERS, name) {
                Some(function) => (function, *count),
                None => continue,
            },
            Instruction::PerformTest(name, count, _) => match find(&TESTS, name) {
                Some(function) => (function, *count),
                None => continue,
            },
            _ => continue,
        };
        *instruction = Instruction::CallFunction(name, count);
    }
}

fn find<T>(table: &[(&'static str, &'static str, T)], name: &str) -> Option<&'static str> {
    table.iter().find(|(known, ..)| *known == name).map(|(_, function, _)| *function)
}
