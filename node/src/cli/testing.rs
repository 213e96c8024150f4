//! For the tests of commands: arguments as they are typed, in a directory of their own.

use std::path::Path;

use clap::{Args, Parser};

use super::context::{Context, Globals};

#[derive(Parser)]
struct Line<T: Args> {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    command: T,
}

#[derive(Args)]
struct Nothing {}

/// A command's arguments and its context, with all directories below `base`.
pub fn parse<T: Args>(base: &Path, arguments: &[&str]) -> (Context, T) {
    let base = ["assay", "--base-path", base.to_str().unwrap()];
    let line = Line::<T>::parse_from(base.iter().chain(arguments));
    (Context::new(line.globals), line.command)
}

/// A context alone.
pub fn context(base: &Path, arguments: &[&str]) -> Context {
    parse::<Nothing>(base, arguments).0
}
