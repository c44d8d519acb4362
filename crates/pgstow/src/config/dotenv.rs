//! Reads `.env` files. Nothing is interpolated: a `$` in a password is a `$`.
//!
//! Understood: `NAME=value`, `export NAME=value`, single quotes (literal), double quotes (with `\n`,
//! `\r`, `\t`, `\"`, `\\`, `\$`), values over several lines in either quotes, and comments that begin
//! a line or follow a blank. Lines that assign nothing are passed over.

use std::collections::BTreeMap;

/// A quote that is never closed; says where it opened, not what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the quote that opens in line {line} is never closed")]
pub(crate) struct Unclosed {
    /// Counted from 1.
    pub(crate) line: usize,
}

/// The variables of a file; the last assignment of a name wins.
///
/// # Errors
/// An unclosed quote.
pub(crate) fn parse(content: &str) -> Result<BTreeMap<String, String>, Unclosed> {
    let whole = content.strip_prefix('\u{feff}').unwrap_or(content);
    let mut variables = BTreeMap::new();
    let mut rest = whole;
    while !rest.is_empty() {
        let (line, following) = split_line(rest);
        let Some((name, start)) = assignment(line) else {
            rest = following;
            continue;
        };
        // `start` is a byte offset within `line`, which begins `rest`.
        let value = rest.get(start..).unwrap_or_default();
        let opened = || Unclosed { line: 1 + newlines(whole, rest) };
        let (value, after) = match value.chars().next() {
            Some('\'') => single_quoted(value).ok_or_else(opened)?,
            Some('"') => double_quoted(value).ok_or_else(opened)?,
            _ => (unquoted(line.get(start..).unwrap_or_default()).to_owned(), following),
        };
        variables.insert(name.to_owned(), value);
        // What follows a closing quote on its line is a comment or nothing.
        rest = if after.len() == following.len() { following } else { split_line(after).1 };
    }
    Ok(variables)
}

/// The first line without its end, and all after it.
fn split_line(text: &str) -> (&str, &str) {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    (line.strip_suffix('\r').unwrap_or(line), rest)
}

fn newlines(whole: &str, rest: &str) -> usize {
    let before = whole.len().saturating_sub(rest.len());
    whole.get(..before).unwrap_or_default().matches('\n').count()
}

/// The name that a line assigns to, and where in the line the value begins.
fn assignment(line: &str) -> Option<(&str, usize)> {
    let (left, right) = line.split_once('=')?;
    let left = left.trim();
    let name =
        left.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(left).trim();
    let valid = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let value = right.trim_start_matches([' ', '\t']);
    valid.then(|| (name, line.len() - value.len()))
}

/// Up to a comment; a `#` belongs to the value unless a blank is before it.
fn unquoted(value: &str) -> &str {
    if value.starts_with('#') {
        return "";
    }
    let comment = [" #", "\t#"].iter().filter_map(|mark| value.find(mark)).min();
    comment.and_then(|end| value.get(..end)).unwrap_or(value).trim_end()
}

fn single_quoted(text: &str) -> Option<(String, &str)> {
    let (value, after) = text.strip_prefix('\'')?.split_once('\'')?;
    Some((value.to_owned(), after))
}

fn double_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.strip_prefix('"')?.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\' | '$') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(content: &str) -> Option<String> {
        parse(content).unwrap().remove("A")
    }

    #[test]
    fn every_way_to_write_a_value_is_read() {
        let cases = [
            ("A=plain", "plain"),
            ("A = spaced  ", "spaced"),
            ("export A=exported", "exported"),
            ("\u{feff}A=marked\r\n", "marked"),
            ("A=p#ss#word", "p#ss#word"),
            ("A=value # comment", "value"),
            ("A=# only a comment", ""),
            ("A=", ""),
            ("A='p#s \"s' # comment", "p#s \"s"),
            ("A=\"p#s 's\" # comment", "p#s 's"),
            (r#"A="a\"b\\c\$d\n\x""#, "a\"b\\c$d\n\\x"),
            ("A=$HOME/${HOME}", "$HOME/${HOME}"),
            ("A='$HOME'", "$HOME"),
            ("A=postgres://u:p@h/db?x=1&y=2", "postgres://u:p@h/db?x=1&y=2"),
            ("A='two\nlines'\nB=1", "two\nlines"),
            ("A=first\nA=last", "last"),
            ("# A=comment\nA=1", "1"),
            ("A=it's", "it's"),
        ];
        for (content, expected) in cases {
            assert_eq!(value(content).as_deref(), Some(expected), "{content}");
        }
    }

    #[test]
    fn reading_goes_on_after_a_value_of_several_lines() {
        let variables = parse("A=\"1\n2\" # end\nnonsense\n B=3\nC-D=4\nexportE=5\n").unwrap();
        let expected = [("A", "1\n2"), ("B", "3"), ("exportE", "5")];
        assert!(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));
    }

    #[test]
    fn an_unclosed_quote_is_named_by_its_line() {
        assert_eq!(parse("A=1\n\nB='secret\nC=2").unwrap_err(), Unclosed { line: 3 });
        assert_eq!(parse("A=\"x\\\"").unwrap_err(), Unclosed { line: 1 });
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(content in "[A-B=#'\" \n\\\\$é]{0,40}") {
            let _ = parse(&content);
        }

        #[test]
        fn any_password_survives_single_quotes(password in "[^']{0,30}") {
            prop_assert_eq!(value(&format!("A='{password}'\nB=1\n")), Some(password));
        }
    }
}
