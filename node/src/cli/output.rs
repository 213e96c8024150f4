//! What a command prints: lines for people, or one JSON object.

use std::io::{self, IsTerminal, Write};

use assay_protocol::units::Price;
use serde::Serialize;
use serde_json::json;

use super::failure::Failure;

/// The form in which results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object on standard output.
    Json,
}

/// Prints results to standard output and progress to standard error.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
}

impl Output {
    /// Prints in `format`.
    pub const fn new(format: Format) -> Self {
        Self { format }
    }

    /// The form.
    pub const fn format(self) -> Format {
        self.format
    }

    /// A result in both forms; only the chosen one is built.
    ///
    /// # Errors
    /// When standard output is closed or the value cannot be serialised.
    pub fn result<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let line = match self.format {
            Format::Json => serde_json::to_string_pretty(value)?,
            Format::Text => text(value),
        };
        writeln!(io::stdout().lock(), "{line}")?;
        Ok(())
    }

    /// One of several results, in one line.
    ///
    /// # Errors
    /// When standard output is closed or the value cannot be serialised.
    pub fn line<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let line = match self.format {
            Format::Json => serde_json::to_string(value)?,
            Format::Text => text(value),
        };
        writeln!(io::stdout().lock(), "{line}")?;
        Ok(())
    }

    /// A line of narration; silent in JSON form.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn say(self, line: impl AsRef<str>) -> anyhow::Result<()> {
        if self.format == Format::Text {
            writeln!(io::stdout().lock(), "{}", line.as_ref())?;
        }
        Ok(())
    }

    /// A failure, in the chosen form, on standard error.
    pub fn failure(self, failure: &Failure) {
        let (cause, hint) = (failure.cause(), failure.next_step());
        let text = match self.format {
            Format::Json => {
                let error = json!({ "exit": failure.exit() as u8, "cause": cause, "hint": hint });
                json!({ "error": error }).to_string()
            }
            Format::Text => match hint {
                Some(hint) => format!("error: {cause}\nhint: {hint}"),
                None => format!("error: {cause}"),
            },
        };
        // Where standard error is closed, nobody reads it.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Whether progress bars make sense.
    pub fn shows_progress(self) -> bool {
        self.format == Format::Text && io::stderr().is_terminal()
    }
}

/// An amount of base units as tokens, with all the digits that matter.
pub fn tokens(amount: u128) -> String {
    const UNIT: u128 = 1_000_000_000_000;
    let fraction = format!("{:012}", amount % UNIT);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        format!("{} ASY", amount / UNIT)
    } else {
        format!("{}.{fraction} ASY", amount / UNIT)
    }
}

/// Reads tokens such as `1.5` into base units.
///
/// # Errors
/// When the text is not a decimal number with at most twelve places.
pub fn parse_tokens(text: &str) -> Result<u128, String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    if fraction.len() > 12 || !digits(whole) || !digits(fraction) {
        return Err(format!("{text:?} is not an amount such as 12 or 0.5 (at most twelve decimal places)"));
    }
    format!("{whole}{fraction:0<12}").parse().map_err(|_| format!("{text:?} is too large"))
}

/// Reads a price: tokens for a million of a model's tokens.
///
/// # Errors
/// As [`parse_tokens`].
pub fn parse_price(text: &str) -> Result<Price, String> {
    parse_tokens(text).map(Price::new)
}

/// Reads a number of bytes, with K, M, G or T for powers of a thousand.
///
/// # Errors
/// What is wrong with it.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a number of bytes such as 500M or 20G");
    let units = [('K', 1_000), ('M', 1_000_000), ('G', 1_000_000_000), ('T', 1_000_000_000_000)];
    let unit = units.iter().find_map(|(letter, unit)| Some((text.strip_suffix(*letter)?, *unit)));
    let (digits, unit) = unit.unwrap_or((text, 1));
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number).ok_or_else(wrong)?;
    number.checked_mul(unit).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_tokens_per_million() {
        assert_eq!(parse_price("0.25"), Ok(Price::new(250_000_000_000)));
        assert!(parse_price("cheap").is_err());
    }

    #[test]
    fn amounts_read_as_they_print() {
        for (text, amount) in
            [("0", 0), ("1", 1_000_000_000_000), ("0.000000000001", 1), ("12.5", 12_500_000_000_000)]
        {
            assert_eq!(parse_tokens(text), Ok(amount));
            assert_eq!(tokens(amount), format!("{text} ASY"));
        }
        for bad in ["", ".", "1.", "-1", "1e3", "0.0000000000001", "1,5"] {
            assert!(parse_tokens(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_of_bytes_may_have_a_unit() {
        for (text, bytes) in
            [("0", 0), ("500M", 500_000_000), ("20G", 20_000_000_000), ("1T", 1_000_000_000_000)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for bad in ["", "G", "-1", "+1", "1.5G", "1g", "99999999999T", "1GG"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
