//! Calendar text for templates: `strftime` in UTC, from the request's time alone.

use std::str::Chars;

/// The last second of the year 9999; later times have no four-digit year.
const SECONDS_MAX: u64 = 253_402_300_799;
const DAY_SECONDS: u64 = 86_400;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A time that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TimeError {
    #[error("the time lies after the year 9999")]
    Range,
    #[error("the time format holds the unknown directive %{0}")]
    Directive(String),
}

/// Writes a time (seconds since 1970) in Python's `strftime` format, in English.
pub(super) fn strftime(now_s: u64, format: &str) -> Result<String, TimeError> {
    let mut text = String::with_capacity(2 * format.len());
    Civil::from_seconds(now_s)?.write(format, &mut text)?;
    Ok(text)
}

/// A time in the Gregorian calendar.
struct Civil {
    year: u64,
    /// 1 to 12.
    month: u64,
    /// 1 to 31.
    day: u64,
    /// 1 to 366.
    day_of_year: u64,
    /// 0 is Sunday.
    weekday: u64,
    /// Seconds since midnight.
    second_of_day: u64,
}

impl Civil {
    fn from_seconds(now_s: u64) -> Result<Self, TimeError> {
        if now_s > SECONDS_MAX {
            return Err(TimeError::Range);
        }
        let days = now_s / DAY_SECONDS;
        let mut year = 1970;
        let mut day_of_year = days;
        // At most 8,029 steps.
        while day_of_year >= 365 + leap(year) {
            day_of_year -= 365 + leap(year);
            year += 1;
        }
        let mut day = day_of_year;
        let mut month = 1;
        while day >= month_days(year, month) {
            day -= month_days(year, month);
            month += 1;
        }
        // 1 January 1970 was a Thursday.
        let weekday = (days + 4) % 7;
        let second_of_day = now_s % DAY_SECONDS;
        Ok(Self { year, month, day: day + 1, day_of_year: day_of_year + 1, weekday, second_of_day })
    }

    fn write(&self, format: &str, text: &mut String) -> Result<(), TimeError> {
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            match c {
                '%' => self.write_directive(&mut rest, text)?,
                _ => text.push(c),
            }
        }
        Ok(())
    }

    /// Writes the directive that follows a `%`; a hyphen before its letter takes the padding away.
    fn write_directive(&self, rest: &mut Chars<'_>, text: &mut String) -> Result<(), TimeError> {
        let directive = rest.as_str();
        let padded = !directive.starts_with('-');
        let letter = if padded { rest.next() } else { rest.nth(1) };
        let unknown = || TimeError::Directive(directive.chars().take(2).collect());
        let letter = letter.ok_or_else(unknown)?;
        if let Some((value, width)) = self.number(letter) {
            text.push_str(&format!("{value:0width$}", width = if padded { width } else { 1 }));
            return Ok(());
        }
        if let Some(name) = self.name(letter).filter(|_| padded) {
            text.push_str(name);
            return Ok(());
        }
        let composed = composed(letter).filter(|_| padded).ok_or_else(unknown)?;
        self.write(composed, text)
    }

    /// Numeric directives: the value and its padded width.
    fn number(&self, letter: char) -> Option<(u64, usize)> {
        let (hour, minute, second) =
            (self.second_of_day / 3600, self.second_of_day / 60 % 60, self.second_of_day % 60);
        match letter {
            'Y' => Some((self.year, 4)),
            'y' => Some((self.year % 100, 2)),
            'm' => Some((self.month, 2)),
            'd' => Some((self.day, 2)),
            'j' => Some((self.day_of_year, 3)),
            'H' => Some((hour, 2)),
            'I' => Some(((hour + 11) % 12 + 1, 2)),
            'M' => Some((minute, 2)),
            'S' => Some((second, 2)),
            'w' => Some((self.weekday, 1)),
            'u' => Some(((self.weekday + 6) % 7 + 1, 1)),
            _ => None,
        }
    }

    /// Directives that are words.
    fn name(&self, letter: char) -> Option<&'static str> {
        match letter {
            'B' => Some(self.month_name()),
            'b' => Some(&self.month_name()[..3]),
            'A' => Some(self.weekday_name()),
            'a' => Some(&self.weekday_name()[..3]),
            'p' => Some(if self.second_of_day < DAY_SECONDS / 2 { "AM" } else { "PM" }),
            'Z' => Some("UTC"),
            'z' => Some("+0000"),
            '%' => Some("%"),
            _ => None,
        }
    }

    fn month_name(&self) -> &'static str {
        MONTHS[self.month as usize - 1]
    }

    fn weekday_name(&self) -> &'static str {
        WEEKDAYS[self.weekday as usize]
    }
}

/// Directives that stand for others.
fn composed(letter: char) -> Option<&'static str> {
    match letter {
        'F' => Some("%Y-%m-%d"),
        'T' => Some("%H:%M:%S"),
        'R' => Some("%H:%M"),
        'D' => Some("%m/%d/%y"),
        _ => None,
    }
}

fn leap(year: u64) -> u64 {
    u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)))
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + leap(year),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_python_writes_them() {
        // Each row is the output of Python's `datetime.fromtimestamp(now, UTC).strftime(format)`.
        let cases = [
            (0, "%Y-%m-%d %H:%M:%S %A", "1970-01-01 00:00:00 Thursday"),
            (951_782_399, "%d %b %Y", "28 Feb 2000"),
            (951_782_400, "%F is day %j", "2000-02-29 is day 060"),
            (4_107_542_400, "%d %B %Y", "01 March 2100"),
            (1_795_478_400, "%a %-d/%-m, %I:%M %p", "Tue 24/11, 12:00 AM"),
            (1_795_521_600, "%I %p %T %R %D", "12 PM 12:00:00 12:00 11/24/26"),
            (SECONDS_MAX, "%F %T %w %u %y 100%%", "9999-12-31 23:59:59 5 5 99 100%"),
        ];
        for (now_s, format, expected) in cases {
            assert_eq!(strftime(now_s, format).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn unknown_directives_and_far_times_are_refused() {
        for (format, directive) in [("%Q", "Q"), ("%-B", "-B"), ("%", ""), ("%-", "-")] {
            let named = strftime(0, format).map_err(|error| error.to_string()).unwrap_err();
            assert!(named.ends_with(&format!("%{directive}")), "{named}");
        }
        assert_eq!(strftime(SECONDS_MAX + 1, "%Y"), Err(TimeError::Range));
    }
}
