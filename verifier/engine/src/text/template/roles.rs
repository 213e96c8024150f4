//! Control tokens that a template makes of a role, as Phi-4-mini's does: `'<|' + message['role'] + '|>'`.
//!
//! Roles are the requester's, so the sum cannot be told from what a message spells out. It is replaced by a
//! call that knows the control tokens of the roles below, and makes ordinary text of every other role.

use std::collections::BTreeMap;

use minijinja::machinery::{Token, tokenize};
use minijinja::{Environment, Error, State};

use super::python::BYTES_PER_FUEL;
use super::stand_ins::StandIns;
use super::syntax;
use crate::text::TextError;
use crate::text::special::{Piece, Specials};

/// Roles that chat formats know.
const ROLES: [&str; 6] = ["system", "user", "assistant", "tool", "developer", "model"];
const FUNCTION: &str = "text_around_role";

/// What comes before a role, the role and what comes after it, with the text that stands for them.
pub(super) type Sums = BTreeMap<[String; 3], String>;

/// A template whose sums around roles are calls where one of the roles makes a control token.
pub(super) fn replace(
    source: &str,
    controls: &Specials,
    stand_ins: &mut StandIns,
) -> Result<(String, Sums), TextError> {
    let tokens: Vec<_> = tokenize(source, false, syntax()).map_while(Result::ok).collect();
    let kinds: Vec<&Token<'_>> = tokens.iter().map(|(token, _)| token).collect();
    let (mut replaced, mut sums) = (String::with_capacity(source.len()), Sums::new());
    let (mut done, mut at) = (0, 0);
    while at < kinds.len() {
        let follows_sum = at == 0 || is_edge(kinds[at - 1]);
        let Some((before, after, role)) = sum(&kinds[at..]).filter(|_| follows_sum) else {
            at += 1;
            continue;
        };
        let end = at + role + 4;
        let known = known(before, after, controls, stand_ins)?;
        let span = |index: usize| tokens[index].1.start_offset as usize..tokens[index].1.end_offset as usize;
        let role = span(at + 2).start..span(end - 2).end;
        let parts =
            (source.get(done..span(at).start), source.get(span(at)), source.get(role), source.get(span(end)));
        if let (false, (Some(rest), Some(left), Some(role), Some(right))) = (known.is_empty(), parts) {
            replaced.push_str(&format!("{rest}{FUNCTION}({left}, {role}, {right})"));
            done = span(end).end;
            sums.extend(known);
        }
        at = end + 1;
    }
    replaced.push_str(source.get(done..).unwrap_or_default());
    Ok((replaced, sums))
}

/// The texts around a role that these tokens begin with, and how many tokens the role takes beyond one.
fn sum<'t>(tokens: &[&'t Token<'_>]) -> Option<(&'t str, &'t str, usize)> {
    let [before, Token::Plus | Token::Tilde, Token::Ident(_), rest @ ..] = tokens else { return None };
    let (more, rest) = match rest {
        [Token::Dot, Token::Ident("role"), rest @ ..] => (2, rest),
        [Token::BracketOpen, Token::Str("role"), Token::BracketClose, rest @ ..] => (3, rest),
        _ => return None,
    };
    match rest {
        [Token::Plus | Token::Tilde, after, edge, ..] if is_edge(edge) => {
            Some((text(before)?, text(after)?, more))
        }
        _ => None,
    }
}

/// Whether a sum of texts is whole beside this token.
const fn is_edge(token: &Token<'_>) -> bool {
    matches!(
        token,
        Token::VariableStart
            | Token::VariableEnd
            | Token::BlockEnd
            | Token::Assign
            | Token::Plus
            | Token::Tilde
            | Token::ParenOpen
            | Token::ParenClose
    )
}

const fn text<'t>(token: &'t Token<'_>) -> Option<&'t str> {
    match token {
        Token::Str(text) => Some(text),
        Token::String(text) => Some(text),
        _ => None,
    }
}

fn known(
    before: &str,
    after: &str,
    controls: &Specials,
    stand_ins: &mut StandIns,
) -> Result<Sums, TextError> {
    let mut sums = Sums::new();
    for role in ROLES {
        let whole = [before, role, after].concat();
        if controls.split(&whole).iter().any(|piece| matches!(piece, Piece::Token(_))) {
            sums.insert([before, role, after].map(str::to_owned), stand_ins.replace(&whole, controls)?);
        }
    }
    Ok(sums)
}

/// Makes the calls known.
pub(super) fn install(environment: &mut Environment<'_>, sums: Sums) {
    let around = move |state: &State, before: &str, role: &str, after: &str| -> Result<String, Error> {
        let sum = [before, role, after];
        state.consume_fuel(1 + sum.concat().len() as u64 / BYTES_PER_FUEL)?;
        Ok(sums.get(&sum.map(str::to_owned)).cloned().unwrap_or_else(|| sum.concat()))
    };
    environment.add_function(FUNCTION, around);
}
