//! Renders a conversation by the model's chat template, within limits.
//!
//! The template is Jinja2 as transformers runs it. Its result must be the same everywhere, so what could
//! differ is left out: filters that hang on Unicode's tables of letters or on the platform's mathematics,
//! the clock, and powers of floats. What a message contains cannot become a control token: see
//! [`StandIns`].

mod dictsort;
mod json;
mod operators;
mod program;
mod python;
mod roles;
mod stand_ins;
mod time;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::panic::resume_unwind;
use std::thread;

use assay_protocol::request::Message;
use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value};

use self::program::Program;
use self::stand_ins::{StandIns, find_noncharacter};
use super::special::{Piece, Specials};
use super::{RenderError, TextError};

/// Longest template; those with tools have about 17,000 bytes.
const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// Tokens of one `{{ }}` or `{% %}`: compiling takes time and stack that grow with them, the time in squares.
const TAG_TOKENS_MAX: usize = 4096;
/// Longest rendered text: four times the longest request.
pub(super) const RENDERED_BYTES_MAX: usize = 1024 * 1024;
/// Work of one rendering: instructions, and 64 bytes of text each. A conversation of 256 messages with 1,000
/// bytes each was measured at 11,000 to 46,000 in the templates of 60 known models, and at 288,000 in one
/// that looks back from every message.
const FUEL: u64 = 200_000;
/// Stack on which templates are compiled and run: the engine recurses into expressions as long as the
/// template and into values as deep as its fuel allows, unchecked. Measured at up to 64 MiB (lists in lists,
/// then printed); memory that is not touched is not taken.
const STACK_BYTES: usize = 256 << 20;
/// Deepest nesting of blocks, macros and calls.
const RECURSION_MAX: usize = 200;
const NAME: &str = "chat_template";

/// Filters and tests that need tables of letters or rounding whose results could change; `chain` and `zip`
/// do work that no fuel pays for when they are nested.
const FILTERS_REMOVED: [&str; 8] = ["round", "pprint", "sort", "groupby", "unique", "format", "chain", "zip"];
const TESTS_REMOVED: [&str; 2] = ["lower", "upper"];

pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    /// The text, with stand-ins for the control tokens. It is compiled for each conversation: that takes less
    /// than rendering, and what is compiled borrows it.
    source: String,
    stand_ins: StandIns,
    /// `bos_token` and the like, as the template sees them.
    variables: BTreeMap<&'static str, Value>,
}

impl ChatTemplate {
    /// Compiles a template. `named` are the tokens that it may name by variable.
    pub(super) fn new(
        source: &str,
        controls: &Specials,
        named: &[(&'static str, &str)],
    ) -> Result<Self, TextError> {
        check_source(source)?;
        let mut stand_ins = StandIns::default();
        let replaced = without_generation(&stand_ins.replace(source, controls)?);
        let (replaced, sums) = roles::replace(&replaced, controls, &mut stand_ins)?;
        let mut environment = environment();
        roles::install(&mut environment, sums);
        let mut variables = BTreeMap::new();
        for (name, text) in named {
            variables.insert(*name, stand_ins.replace(text, controls)?.into());
        }
        on_deep_stack(|| Program::compile(&replaced).map(drop))
            .map_err(|error| TextError::Thread(error.kind()))?
            .map_err(|error| TextError::Template(error.to_string()))?;
        let template = Self { environment, source: replaced, stand_ins, variables };
        match template.composed(controls) {
            Some(token) => Err(TextError::ComposedControl { token }),
            None => Ok(template),
        }
    }

    /// A conversation, ready for the answer; [`pieces`](Self::pieces) finds the control tokens in it.
    pub(super) fn render(&self, messages: &[Message], now_s: u64) -> Result<String, RenderError> {
        let mut texts = messages.iter().flat_map(|message| [&message.role, &message.content]);
        match texts.find_map(|text| find_noncharacter(text)) {
            Some(found) => Err(RenderError::Noncharacter(found)),
            None => on_deep_stack(|| self.run(messages, now_s))
                .unwrap_or_else(|error| Err(RenderError::Thread(error.kind()))),
        }
    }

    /// The control tokens of a rendered conversation and the ordinary text between them.
    pub(super) fn pieces<'t>(&self, rendered: &'t str) -> Vec<Piece<'t>> {
        self.stand_ins.split(rendered)
    }

    /// A control token that the template puts together from parts, which would remain ordinary text.
    fn composed(&self, controls: &Specials) -> Option<u32> {
        let message = Message { role: "user".to_owned(), content: "x".to_owned() };
        // A template that refuses this message is judged by the messages that it takes.
        let rendered = self.render(&[message], 0).ok()?;
        let parts = self.pieces(&rendered).into_iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(controls.split(text)),
            Piece::Token(_) => None,
        });
        parts.flatten().find_map(|part| match part {
            Piece::Token(token) => Some(token),
            Piece::Text(_) => None,
        })
    }

    fn run(&self, messages: &[Message], now_s: u64) -> Result<String, RenderError> {
        let program = Program::compile(&self.source).map_err(render_error)?;
        let context = self.context(messages, now_s);
        match program.run(&self.environment, context).map_err(render_error)? {
            text if text.len() > RENDERED_BYTES_MAX => {
                Err(RenderError::TooLong { limit: RENDERED_BYTES_MAX })
            }
            text => Ok(text),
        }
    }

    fn context(&self, messages: &[Message], now_s: u64) -> Value {
        let message =
            |message: &Message| Value::from_pairs([("role", &*message.role), ("content", &*message.content)]);
        let strftime_now = move |format: &str| {
            time::strftime(now_s, format)
                .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
        };
        let mut context = self.variables.clone();
        context.insert("messages", messages.iter().map(message).collect());
        context.insert("add_generation_prompt", true.into());
        context.insert("tools", ().into());
        context.insert("documents", ().into());
        context.insert("strftime_now", Value::from_function(strftime_now));
        Value::from_pairs(context)
    }
}

fn check_source(source: &str) -> Result<(), TextError> {
    if source.len() > TEMPLATE_BYTES_MAX {
        return Err(TextError::TooLarge { what: "the chat template", limit: TEMPLATE_BYTES_MAX });
    }
    if find_noncharacter(source).is_some() {
        return Err(TextError::Template("it contains a noncharacter of Unicode".to_owned()));
    }
    let mut tag_tokens = 0;
    for token in tokenize(source, false, syntax()) {
        tag_tokens += 1;
        match token.map_err(|error| TextError::Template(error.to_string()))? {
            (Token::VariableStart | Token::BlockStart, _) => tag_tokens = 0,
            (Token::Pow, _) => {
                return Err(TextError::Template(
                    "it uses `**`, whose result hangs on the platform".to_owned(),
                ));
            }
            _ if tag_tokens > TAG_TOKENS_MAX => {
                let what = "an expression of the chat template, in tokens,";
                return Err(TextError::TooLarge { what, limit: TAG_TOKENS_MAX });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The template without `{% generation %}`, by which transformers marks what an assistant writes: `with`
/// has its scope and its white space.
fn without_generation(source: &str) -> String {
    let mut replaced = String::with_capacity(source.len());
    let mut done = 0;
    let mut begins_tag = false;
    for (token, span) in tokenize(source, false, syntax()).map_while(Result::ok) {
        let word = match token {
            Token::Ident("generation") if begins_tag => Some("with"),
            Token::Ident("endgeneration") if begins_tag => Some("endwith"),
            _ => None,
        };
        begins_tag = matches!(token, Token::BlockStart);
        let (start, end) = (span.start_offset as usize, span.end_offset as usize);
        if let (Some(word), Some(before)) = (word, source.get(done..start)) {
            replaced.push_str(before);
            replaced.push_str(word);
            done = end;
        }
    }
    replaced.push_str(source.get(done..).unwrap_or_default());
    replaced
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(syntax());
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(python::call_method);
    environment.remove_global("debug");
    operators::install(&mut environment);
    FILTERS_REMOVED.iter().for_each(|name| environment.remove_filter(name));
    TESTS_REMOVED.iter().for_each(|name| environment.remove_test(name));
    environment.add_filter("upper", |text: &str| python::upper(text));
    environment.add_filter("lower", |text: &str| python::lower(text));
    environment.add_filter("title", |text: &str| python::title(text));
    environment.add_filter("capitalize", |text: &str| python::capitalize(text));
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("dictsort", dictsort::dictsort);
    // To the engine, none is an empty list.
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_function("raise_exception", |message: &str| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message.to_owned()))
    });
    environment
}

/// White space around blocks as transformers sets it.
fn syntax() -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.trim_blocks(true).lstrip_blocks(true);
    builder.build().unwrap_or_default()
}

fn render_error(error: Error) -> RenderError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        match cause.downcast_ref::<Error>().map(Error::kind) {
            Some(ErrorKind::OutOfFuel) => return RenderError::Fuel,
            _ => source = cause.source(),
        }
    }
    RenderError::Template(error.to_string())
}

/// Works on a thread of its own with a stack of [`STACK_BYTES`].
fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(NAME.to_owned()).stack_size(STACK_BYTES);
        let worker = thread.spawn_scoped(scope, work)?;
        worker.join().map_or_else(|panic| resume_unwind(panic), Ok)
    })
}
