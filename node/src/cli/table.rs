//! Aligned text for people: the fields of one thing, and tables of many.

/// Lines of names and values; an empty name continues the field above.
pub fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = rows.iter().map(|(name, value)| format!("{name:width$}  {value}").trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// A table with a head; columns are as wide as their widest cell.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let head = head.map(str::to_owned);
    let lines = || std::iter::once(&head).chain(rows);
    let width = |column: usize| lines().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The beginning of an id, enough to recognise it in a table.
pub fn short(id: impl ToString) -> String {
    const SHOWN: usize = 10;
    let text = id.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Text that somebody else wrote, with nothing in it that a terminal would obey.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// `1 file`, `2 files`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_one_another() {
        let text = table(["NAME", "N"], &[["a".into(), "1".into()], ["longer".into(), "22".into()]]);
        assert_eq!(text, "NAME    N\na       1\nlonger  22");
        assert_eq!(
            fields(&[("a", "1".into()), ("bcd", "2".into()), ("", "3".into())]),
            "a    1\nbcd  2\n     3"
        );
    }

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(plain("MIT\u{1b}[31m\n"), "MIT\u{fffd}[31m\u{fffd}");
        assert_eq!(short("0x0123456789abcdef"), "0x01234567…");
        assert_eq!(short("0x01"), "0x01");
    }
}
