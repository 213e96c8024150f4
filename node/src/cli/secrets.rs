//! Where secrets come from: the terminal without echo, a file that only its owner reads, or standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::Context as _;
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::keys::{Passphrase, Words};
use crate::private_file;

/// Bytes of a file or line with a secret.
const SECRET_BYTES_MAX: usize = 4096;

/// Asks for secrets. Each line of standard input is one of them, in the order in which a person is asked.
#[derive(Clone, Copy, Debug)]
pub struct Secrets<'a> {
    password_file: Option<&'a Path>,
}

impl<'a> Secrets<'a> {
    /// Passphrases come from this file, if one was named.
    pub const fn new(password_file: Option<&'a Path>) -> Self {
        Self { password_file }
    }

    /// The passphrase that unlocks a key.
    ///
    /// # Errors
    /// When none is given, or its file cannot be used.
    pub fn passphrase(self, key: &str) -> Result<Passphrase, Failure> {
        let typed = match self.password_file {
            Some(file) => first_line(file)?,
            None => ask(&format!("Passphrase of {key}: "))?,
        };
        Ok(Passphrase::new(&typed)?)
    }

    /// A passphrase for a key that is new or gets a new one; typed twice on a terminal.
    ///
    /// # Errors
    /// When none is given, it is too short, or the two differ.
    pub fn new_passphrase(self, key: &str) -> Result<Passphrase, Failure> {
        if let Some(file) = self.password_file {
            return Ok(Passphrase::chosen(&first_line(file)?)?);
        }
        let chosen = Passphrase::chosen(&ask(&format!("New passphrase of {key}: "))?)?;
        if io::stdin().is_terminal() {
            let again = Passphrase::new(&ask("The same again: ")?)?;
            if again.as_bytes() != chosen.as_bytes() {
                return Err(Failure::usage("choosing a passphrase: the two differ").hint("try again"));
            }
        }
        Ok(chosen)
    }

    /// The words of a key: from a file, if one was named.
    ///
    /// # Errors
    /// When none are given, or they are no mnemonic.
    pub fn words(self, file: Option<&Path>) -> Result<Words, Failure> {
        let typed = match file {
            Some(file) => text(file)?,
            None => ask("Words of the key: ")?,
        };
        Ok(Words::parse(&typed)?)
    }
}

/// A secret from the terminal, or the next line of standard input where that is none.
fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if io::stdin().is_terminal() {
        let typed = rpassword::prompt_password(prompt).context("reading from the terminal")?;
        return Ok(Zeroizing::new(typed));
    }
    let line = next_line(&mut standard_input()?).context("reading standard input")?;
    utf8(line, "standard input")
}

/// Standard input without the buffer of the library, which would keep what it has read.
fn standard_input() -> Result<File, Failure> {
    let input = io::stdin().as_fd().try_clone_to_owned().context("reading standard input")?;
    Ok(File::from(input))
}

/// What comes before the line's end, and nothing after it.
fn next_line(input: &mut impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX));
    let mut byte = [0];
    while input.read(&mut byte)? == 1 && byte != *b"\n" {
        if line.len() == SECRET_BYTES_MAX {
            return Err(io::Error::other(format!("a line has more than {SECRET_BYTES_MAX} bytes")));
        }
        line.push(byte[0]);
    }
    Ok(line)
}

fn first_line(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = text(file)?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

fn text(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let bytes = private_file::read(file, SECRET_BYTES_MAX)?;
    utf8(bytes, &file.display().to_string())
}

fn utf8(bytes: Zeroizing<Vec<u8>>, origin: &str) -> Result<Zeroizing<String>, Failure> {
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Failure::usage(format!("reading {origin}: it is not UTF-8 text"))
            .hint("save it as UTF-8 text, one line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_line_is_one_secret_and_no_byte_after_it_is_taken() {
        let mut input = io::Cursor::new("first\nsecond\n\nlast");
        let mut line = || String::from_utf8(next_line(&mut input).unwrap().to_vec()).unwrap();
        assert_eq!([line(), line(), line(), line(), line()], ["first", "second", "", "last", ""]);
        assert!(next_line(&mut io::repeat(b'x')).is_err());
    }

    #[test]
    fn a_file_of_a_passphrase_is_its_first_line_and_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        private_file::create(&path, b"a passphrase\nanother line\n").unwrap();
        let secrets = Secrets::new(Some(&path));
        assert_eq!(secrets.passphrase("x").unwrap().as_bytes(), b"a passphrase");
        assert_eq!(secrets.new_passphrase("x").unwrap().as_bytes(), b"a passphrase");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let open = secrets.passphrase("x").unwrap_err();
        assert!(open.next_step().unwrap().contains("chmod 600"), "{}", open.cause());
    }
}
