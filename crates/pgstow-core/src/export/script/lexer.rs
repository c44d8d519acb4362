//! What psql would see in a statement: whether a backslash is outside of quotes, or a quote left open. Pure.
//!
//! As psql's own lexer, with `standard_conforming_strings` on.

/// Where a scan is.
#[derive(Clone, Copy)]
enum Within {
    Statement,
    /// A string; with escapes or without.
    String {
        escapes: bool,
    },
    Identifier,
    LineComment,
    /// Nested so deep.
    BlockComment(usize),
}

/// Checks a statement.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(statement: &str) -> Result<(), &'static str> {
    let bytes = statement.as_bytes();
    let mut within = Within::Statement;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        let mut step = 1;
        within = match (within, byte) {
            (Within::Statement, b'\\') => return Err("it has a backslash outside of quotes"),
            (Within::Statement, b'\'') => Within::String { escapes: begins_escapes(bytes, at) },
            (Within::Statement, b'"') => Within::Identifier,
            (Within::Statement, b'-') if next == Some(b'-') => Within::LineComment,
            (Within::Statement, b'/') if next == Some(b'*') => {
                step = 2;
                Within::BlockComment(1)
            }
            (Within::Statement, b'$') => {
                step = dollar_quoted(bytes, at).ok_or("a dollar quote in it is not closed")?;
                Within::Statement
            }
            (Within::String { escapes: true }, b'\\') => {
                step = 2;
                within
            }
            // A doubled quote ends one string and begins another, of the same kind.
            (Within::String { .. }, b'\'') if next == Some(b'\'') => {
                step = 2;
                within
            }
            (Within::String { escapes: true }, b'\'') if goes_on(bytes, at + 1) => {
                return Err("a string in it goes on in another line");
            }
            (Within::String { .. }, b'\'')
            | (Within::Identifier, b'"')
            | (Within::LineComment, b'\n' | b'\r') => Within::Statement,
            (Within::BlockComment(depth), b'/') if next == Some(b'*') => {
                step = 2;
                Within::BlockComment(depth + 1)
            }
            (Within::BlockComment(depth), b'*') if next == Some(b'/') => {
                step = 2;
                if depth == 1 { Within::Statement } else { Within::BlockComment(depth - 1) }
            }
            _ => within,
        };
        at += step;
    }
    match within {
        Within::Statement | Within::LineComment => Ok(()),
        Within::String { .. } => Err("a string in it is not closed"),
        Within::Identifier => Err("a quoted name in it is not closed"),
        Within::BlockComment(_) => Err("a comment in it is not closed"),
    }
}

fn continues_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// Whether the quote at `at` follows an `E` that is a word of its own.
fn begins_escapes(bytes: &[u8], at: usize) -> bool {
    let before = |distance: usize| at.checked_sub(distance).and_then(|at| bytes.get(at)).copied();
    matches!(before(1), Some(b'e' | b'E')) && !before(2).is_some_and(continues_word)
}

/// Whether what follows a string with escapes continues it, escapes included.
fn goes_on(bytes: &[u8], from: usize) -> bool {
    let rest = bytes.get(from..).unwrap_or_default();
    let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count();
    let is_next_line = rest.iter().take(blank).any(|byte| matches!(byte, b'\n' | b'\r'));
    match rest.get(blank..).unwrap_or_default() {
        [b'\'', ..] => is_next_line,
        // A comment may stand between the lines.
        [b'-', b'-', ..] => true,
        _ => false,
    }
}

/// Length of the dollar-quoted string at `at`, 1 if there is none; `None` when it is not closed.
fn dollar_quoted(bytes: &[u8], at: usize) -> Option<usize> {
    if at.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(|byte| continues_word(*byte)) {
        return Some(1);
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let tag = rest.iter().skip(1).take_while(|byte| continues_word(**byte) && **byte != b'$').count();
    let (Some(mark), Some(b'$')) = (rest.get(..tag + 2), rest.get(tag + 1)) else { return Some(1) };
    if rest.get(1).is_some_and(u8::is_ascii_digit) {
        return Some(1);
    }
    let content = rest.get(mark.len()..).unwrap_or_default();
    let end = content.windows(mark.len()).position(|window| window == mark)?;
    Some(2 * mark.len() + end)
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_servers_write_passes() {
        for statement in [
            "",
            "CREATE TABLE \"a\\b\"\"c\" (n integer DEFAULT 1 -- \\ and '\n);",
            "COMMENT ON TABLE t IS 'it''s \\! in quotes\n\\! here too';",
            "COMMENT ON TABLE t IS E'a\\\\b\\'\\! x';",
            "CREATE FUNCTION f() AS $_$ \\! '$$ $_$ || $x$\n\\! $x$;",
            "SELECT a$1$b, $1, '\\', 1::type'x';",
            "/* \\ /* ' */ \\! */ SELECT 1;",
            "SELECT name'x\\';",
            "-- open to the end",
        ] {
            assert_eq!(check(statement), Ok(()), "{statement}");
        }
    }

    #[test]
    fn what_reaches_psql_does_not() {
        for statement in [
            "SELECT 1; \\! id",
            "\\! id",
            "COMMENT IS 'a\\'; \\! id --';",
            "COMMENT IS E'a\\\\'; \\! id --';",
            "SELECT '' \\! id",
            "SELECT \"\" \\! id",
            "SELECT $a$ $b$ $a$ \\! id $b$",
            "-- comment\n\\! id",
            "/* /* */ */ \\! id",
            "SELECT 'open",
            "SELECT \"open",
            "SELECT $q$ open $qq$",
            "/* open /* */",
            "SELECT 1$a$ \\! id $a$",
            "SELECT E'a'\n 'b\\'; \\! id'';",
            "SELECT E'a' -- x\n 'b\\'; \\! id'';",
        ] {
            assert!(check(statement).is_err(), "{statement}");
        }
    }
}
