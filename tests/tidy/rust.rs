//! What can be known about a Rust file from its text: code without comments and literals, and functions.

use std::iter;

/// A file's text with every comment, string and character literal blanked, line for line.
pub struct Code {
    text: String,
}

/// A function's name, its first line, and how many lines it has.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

impl Code {
    pub fn of(source: &str) -> Self {
        let mut text = String::with_capacity(source.len());
        let mut rest = source;
        while let Some(first) = rest.chars().next() {
            let blank = blank_len(rest, text.chars().next_back());
            let (taken, left) = rest.split_at(if blank == 0 { first.len_utf8() } else { blank });
            match blank {
                0 => text.push(first),
                _ => text.extend(taken.chars().map(|c| if c == '\n' { c } else { ' ' })),
            }
            rest = left;
        }
        Self { text }
    }

    /// The code without any white space, for patterns that may span lines.
    pub fn squeezed(&self) -> String {
        self.text.split_whitespace().collect()
    }

    /// Lines before the tail of tests inside the file.
    pub fn production_lines(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let is_tail = |pair: &[&str]| {
            pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        };
        lines.windows(2).position(is_tail).unwrap_or(lines.len())
    }

    /// Lines, from 1, on which `word` stands and is not a part of a longer identifier.
    pub fn lines_with(&self, word: &str) -> Vec<usize> {
        let lines = self.text.lines().enumerate();
        lines.filter(|(_, line)| has_word(line, word)).map(|(index, _)| index + 1).collect()
    }

    /// Every function with a body.
    pub fn functions(&self) -> Vec<Function> {
        let starts = self.text.match_indices("fn ").map(|(at, _)| at);
        let starts = starts.filter(|at| !self.text[..*at].ends_with(is_identifier));
        starts.filter_map(|at| self.function(at)).collect()
    }

    fn function(&self, at: usize) -> Option<Function> {
        let name: String = self.text[at + 3..].chars().take_while(|c| is_identifier(*c)).collect();
        let length = body_end(&self.text[at..]).filter(|_| !name.is_empty())?;
        let line = self.text[..at].matches('\n').count() + 1;
        let lines = self.text[at..at + length].matches('\n').count() + 1;
        Some(Function { name, line, lines })
    }
}

/// Length of the comment or literal that `rest` begins with; 0 when it begins with code.
fn blank_len(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_len(rest);
    }
    if rest.starts_with('\'') {
        return char_len(rest);
    }
    if before.is_some_and(is_identifier) {
        return 0;
    }
    let prefix = ["br", "cr", "b", "c", "r", ""].iter().find(|prefix| {
        rest.strip_prefix(**prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    });
    match prefix {
        Some(prefix) if prefix.ends_with('r') => raw_string_len(rest, prefix.len()),
        Some(prefix) if rest[prefix.len()..].starts_with('"') => string_len(rest, prefix.len()),
        _ => 0,
    }
}

/// Block comments nest.
fn block_comment_len(rest: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        if tail.starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if tail.starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// A character literal has one character or an escape; anything else after the quote is a lifetime.
fn char_len(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => chars.skip(1).find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

fn string_len(rest: &str, quote: usize) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(quote + 1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string_len(rest: &str, prefix: usize) -> usize {
    let hashes = rest[prefix..].chars().take_while(|c| *c == '#').count();
    let start = prefix + hashes + 1;
    let end: String = iter::once('"').chain(iter::repeat_n('#', hashes)).collect();
    rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
}

/// Length from a function's start to its closing brace; none for a declaration without a body.
fn body_end(text: &str) -> Option<usize> {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            ';' if braces == 0 && others == 0 => return None,
            '{' => braces += 1,
            '}' if braces <= 1 => return (braces == 1).then_some(at + 1),
            '}' => braces -= 1,
            _ => {}
        }
    }
    None
}

fn has_word(line: &str, word: &str) -> bool {
    let is_open_ended = !word.ends_with(is_identifier);
    line.match_indices(word).any(|(at, _)| {
        let begins = !line[..at].ends_with(is_identifier);
        let ends = is_open_ended || !line[at + word.len()..].starts_with(is_identifier);
        begins && ends
    })
}

fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_not_code() {
        let cases = [
            ("a // unsafe\nb", "line comment"),
            ("a /* x /* unsafe */ unsafe */ b", "nested block comment"),
            ("a /*/ unsafe */ b", "a comment that begins with a slash"),
            (r#"a "unsafe \" unsafe" b"#, "escaped quote"),
            ("a r#\"unsafe \" unsafe\"# b", "raw string"),
            ("a b\"unsafe\" br\"unsafe\\\" b", "byte strings"),
            ("a '\"' \"unsafe\" '\\'' \"unsafe\" b", "quotes as characters"),
        ];
        for (source, why) in cases {
            let code = Code::of(source);
            assert_eq!(code.lines_with("unsafe"), [0; 0], "{why}");
            assert_eq!(code.squeezed(), "ab", "{why}");
        }
    }

    #[test]
    fn lifetimes_and_identifiers_stay_code() {
        let source = "fn f<'a>(x: &'a str) -> &'a str { unsafe { br(x) } }";
        assert_eq!(Code::of(source).text, source);
    }

    #[test]
    fn a_word_is_found_whole_and_on_its_line() {
        let code = Code::of("#![forbid(unsafe_code)]\nlet sleepy = 1;\nsleep(x);\nsleep_until(y);");
        assert_eq!(code.lines_with("unsafe"), [0; 0]);
        assert_eq!(code.lines_with("sleep"), [3]);
        assert_eq!(code.lines_with("sleep("), [3]);
    }

    #[test]
    fn a_function_ends_at_its_own_brace() {
        let code = Code::of(
            "trait T { fn none(&self, x: [u8; 2]); }\nfn a() -> [u8; 1] {\n  if x { y }\n}\nfn b() {}\n\
             type F = fn (u8);",
        );
        let function = |name: &str, line, lines| Function { name: name.to_owned(), line, lines };
        assert_eq!(code.functions(), [function("a", 2, 3), function("b", 5, 1)]);
    }

    #[test]
    fn only_a_tail_of_tests_is_left_out_of_the_count() {
        assert_eq!(Code::of("a\nb\n#[cfg(test)]\nmod tests {\n}\n").production_lines(), 2);
        assert_eq!(Code::of("a\n#[cfg(test)]\nmod tests;\nb\n").production_lines(), 4);
    }
}
