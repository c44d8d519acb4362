//! Cuts a script into statements, as psql does: quotes, dollar quotes, comments, parentheses and the
//! bodies of SQL functions hide semicolons. Holds one statement at a time; the rows of a COPY are
//! passed on and never held.

use std::io;

use crate::archive::damaged;
use crate::archive::input::{Copied, Input};
use crate::error::{Error, Result};

/// Longest statement.
const LIMIT_BYTES: usize = 1 << 30;
/// Longest line of a comment that is looked into, and of a command of psql that is shown.
const LINE_BYTES: usize = 1000;

/// One piece of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A statement with its semicolon, and the line on which it begins.
    Statement { text: Vec<u8>, line: u64 },
    /// A command of psql: the line from its backslash on.
    Command { text: String, line: u64 },
}

/// What the comments of pg_dump say about where a script comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// `15.18 (Debian 15.18-0+deb12u1)`.
    pub(crate) server_version: Option<String>,
    pub(crate) dump_version: Option<String>,
    /// When it was made, where pg_dump was verbose.
    pub(crate) started: Option<String>,
    /// The comment that pg_dump begins with has been read, and the one that it ends with has not.
    pub(crate) is_open: bool,
}

/// A script that is read.
pub(crate) struct Script<'r> {
    input: Input<'r>,
    line: u64,
    /// Backslashes in ordinary quotes are ordinary.
    standard_strings: bool,
    pub(crate) origin: Origin,
    begun: bool,
}

/// What of a statement has been read.
#[derive(Default)]
struct Open {
    text: Vec<u8>,
    parentheses: usize,
    /// Words so far, as many as tell whether a body may follow.
    words: usize,
    creates: bool,
    routine: bool,
    /// BEGIN and CASE that wait for their END in the body of an SQL function.
    blocks: usize,
}

impl<'r> Script<'r> {
    pub(crate) fn new(input: Input<'r>) -> Self {
        Self { input, line: 1, standard_strings: true, origin: Origin::default(), begun: false }
    }

    /// As `standard_conforming_strings` is set from here on.
    pub(crate) fn set_standard_strings(&mut self, on: bool) {
        self.standard_strings = on;
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The reader's; something that is not ended, naming the line on which it begins.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>> {
        if !self.begun {
            self.begun = true;
            if self.input.ahead(3).map_err(unreadable)?.starts_with(b"\xef\xbb\xbf") {
                self.input.pass(3);
            }
        }
        self.skip_blank()?;
        let line = self.line;
        match self.peek()? {
            None => Ok(None),
            Some(b'\\') => Ok(Some(Piece::Command { text: self.rest_of_line()?, line })),
            Some(_) => self.statement().map(|text| Some(Piece::Statement { text, line })),
        }
    }

    /// Passes on the rows that follow `COPY … FROM stdin;`. The line that the statement ends on is
    /// passed over first.
    ///
    /// # Errors
    /// The reader's, the sink's; rows without an end mark.
    pub(crate) fn rows(&mut self, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Copied> {
        let line = self.line;
        let rest = self.rest_of_line()?;
        if !rest.trim().is_empty() {
            return Err(damaged_at(line, "something follows COPY … FROM stdin; on its line"));
        }
        let copied = self
            .input
            .copy_rows(sink)
            .map_err(|error| Error::from_io(error, "the rows of a COPY cannot be passed on"))?;
        self.line += copied.lines;
        if copied.ended {
            return Ok(copied);
        }
        Err(damaged_at(line, "the rows of the COPY on this line have no end: the dump is cut off"))
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        self.input.peek().map_err(unreadable)
    }

    fn starts_with(&mut self, text: &[u8]) -> Result<bool> {
        Ok(self.input.ahead(text.len()).map_err(unreadable)?.starts_with(text))
    }

    fn pass(&mut self) -> Result<Option<u8>> {
        let byte = self.peek()?;
        self.input.pass(usize::from(byte.is_some()));
        self.line += u64::from(byte == Some(b'\n'));
        Ok(byte)
    }

    /// Takes the next byte into the statement.
    fn take(&mut self, open: &mut Open) -> Result<Option<u8>> {
        let Some(byte) = self.pass()? else { return Ok(None) };
        if byte == 0 {
            return Err(damaged_at(self.line, "there is a zero byte"));
        }
        if open.text.len() >= LIMIT_BYTES {
            return Err(damaged_at(self.line, "a statement is longer than 1 GiB"));
        }
        open.text.push(byte);
        Ok(Some(byte))
    }

    fn rest_of_line(&mut self) -> Result<String> {
        let mut text = Vec::new();
        while let Some(byte) = self.pass()?.filter(|byte| *byte != b'\n') {
            if text.len() < LINE_BYTES {
                text.push(byte);
            }
        }
        Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    fn skip_blank(&mut self) -> Result<()> {
        loop {
            match self.peek()? {
                Some(byte) if byte.is_ascii_whitespace() || byte == 0x0b => {
                    self.pass()?;
                }
                Some(b'-') if self.starts_with(b"--")? => {
                    let comment = self.rest_of_line()?;
                    self.note(&comment);
                }
                Some(b'/') if self.starts_with(b"/*")? => self.comment(&mut Open::default())?,
                _ => return Ok(()),
            }
        }
    }

    /// What pg_dump says of itself in comments.
    fn note(&mut self, comment: &str) {
        let origin = &mut self.origin;
        match comment.trim_end() {
            "-- PostgreSQL database dump" => origin.is_open = true,
            "-- PostgreSQL database dump complete" => origin.is_open = false,
            _ => {}
        }
        for (start, place) in [
            ("-- Dumped from database version ", &mut origin.server_version),
            ("-- Dumped by pg_dump version ", &mut origin.dump_version),
            ("-- Started on ", &mut origin.started),
        ] {
            if let Some(value) = comment.strip_prefix(start) {
                place.get_or_insert_with(|| value.trim().to_owned());
            }
        }
    }

    fn statement(&mut self) -> Result<Vec<u8>> {
        let begin = self.line;
        let mut open = Open::default();
        while let Some(byte) = self.peek()? {
            match byte {
                b'\'' => self.quoted(&mut open, !self.standard_strings)?,
                b'"' => self.identifier(&mut open)?,
                b'$' => self.dollar(&mut open)?,
                b'-' if self.starts_with(b"--")? => {
                    while self.take(&mut open)?.is_some_and(|byte| byte != b'\n') {}
                }
                b'/' if self.starts_with(b"/*")? => self.comment(&mut open)?,
                b'\\' => {
                    return Err(damaged_at(self.line, "a backslash outside of quotes")
                        .hint("commands of psql are not run: remove it, or dump in custom format (-Fc)"));
                }
                b';' if open.parentheses == 0 && open.blocks == 0 => {
                    self.take(&mut open)?;
                    return Ok(open.text);
                }
                _ if is_word(byte) && !byte.is_ascii_digit() => self.word(&mut open)?,
                _ => {
                    match byte {
                        b'(' => open.parentheses += 1,
                        b')' => open.parentheses = open.parentheses.saturating_sub(1),
                        _ => {}
                    }
                    self.take(&mut open)?;
                    // `1e'` is no string with escapes, and `a$b$` no quote.
                    while byte.is_ascii_digit() && self.peek()?.is_some_and(is_word) {
                        self.take(&mut open)?;
                    }
                }
            }
        }
        Err(damaged_at(begin, "the statement that begins here has no end: the dump is cut off"))
    }

    fn word(&mut self, open: &mut Open) -> Result<()> {
        let from = open.text.len();
        while self.peek()?.is_some_and(|byte| is_word(byte) || byte == b'$') {
            self.take(open)?;
        }
        let word = open.text.get(from..).unwrap_or_default().to_ascii_uppercase();
        if word == b"E" && self.peek()? == Some(b'\'') {
            return self.quoted(open, true);
        }
        open.words += 1;
        match (open.words, word.as_slice()) {
            (1, b"CREATE") => open.creates = true,
            (2..=4, b"FUNCTION" | b"PROCEDURE") if open.creates => open.routine = true,
            (_, b"BEGIN") if open.routine && open.parentheses == 0 => open.blocks += 1,
            (_, b"CASE") if open.blocks > 0 && open.parentheses == 0 => open.blocks += 1,
            (_, b"END") if open.parentheses == 0 => open.blocks = open.blocks.saturating_sub(1),
            _ => {}
        }
        Ok(())
    }

    fn quoted(&mut self, open: &mut Open, escapes: bool) -> Result<()> {
        let begin = self.line;
        self.take(open)?;
        while let Some(byte) = self.take(open)? {
            match byte {
                b'\\' if escapes => {
                    self.take(open)?;
                }
                b'\'' if self.peek()? == Some(b'\'') => {
                    self.take(open)?;
                }
                b'\'' => return Ok(()),
                _ => {}
            }
        }
        Err(damaged_at(begin, "the quote that begins here has no end"))
    }

    fn identifier(&mut self, open: &mut Open) -> Result<()> {
        let begin = self.line;
        self.take(open)?;
        while let Some(byte) = self.take(open)? {
            if byte == b'"' {
                return Ok(());
            }
        }
        Err(damaged_at(begin, "the quoted name that begins here has no end"))
    }

    fn dollar(&mut self, open: &mut Open) -> Result<()> {
        let begin = self.line;
        let from = open.text.len();
        self.take(open)?;
        while self.peek()?.is_some_and(is_word) {
            self.take(open)?;
        }
        let is_parameter = open.text.get(from + 1).is_some_and(u8::is_ascii_digit);
        if is_parameter || self.peek()? != Some(b'$') {
            return Ok(());
        }
        self.take(open)?;
        let tag = open.text.get(from..).unwrap_or_default().to_vec();
        while let Some(byte) = self.take(open)? {
            let body = open.text.get(from + tag.len()..).unwrap_or_default();
            if byte == b'$' && body.ends_with(&tag) {
                return Ok(());
            }
        }
        Err(damaged_at(begin, "the dollar quote that begins here has no end"))
    }

    fn comment(&mut self, open: &mut Open) -> Result<()> {
        let begin = self.line;
        let mut depth = 0_usize;
        loop {
            if self.starts_with(b"/*")? {
                depth += 1;
            } else if self.starts_with(b"*/")? {
                depth -= 1;
            } else if self.take(open)?.is_none() {
                return Err(damaged_at(begin, "the comment that begins here has no end"));
            } else {
                continue;
            }
            self.take(open)?;
            self.take(open)?;
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// A byte of names and keywords; all bytes of other scripts are.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn damaged_at(line: u64, what: &str) -> Error {
    Error::failed(format!("line {line}: {what}"))
}

fn unreadable(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
        _ => Error::from_io(error, "the script cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str) -> Result<Vec<String>> {
        let mut script = Script::new(Input::new(text.as_bytes()));
        let mut found = Vec::new();
        while let Some(piece) = script.next()? {
            found.push(match piece {
                Piece::Statement { text, line } => format!("{line}: {}", String::from_utf8_lossy(&text)),
                Piece::Command { text, line } => format!("{line}! {text}"),
            });
        }
        Ok(found)
    }

    #[test]
    fn semicolons_inside_of_something_end_nothing() {
        for statement in [
            "SELECT 'a;b''c;';",
            "SELECT E'a\\';b';",
            "SELECT \"a;\"\"b\";",
            "SELECT $$a;'b$$;",
            "SELECT $x$a;$$;$x $x$;",
            "SELECT a$b$ AS c;",
            "SELECT $1, 2;",
            "SELECT 1 /* a; /* b; */ ' */;",
            "SELECT 1 -- a; '\n;",
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;",
            "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1; END;",
            "SELECT 1e;",
            "CREATE TABLE begin_case (\"end\" int);",
            "SELECT '\\';",
        ] {
            let both = format!("{statement}\nSELECT 3;");
            let line = 2 + statement.matches('\n').count();
            let expected = [format!("1: {statement}"), format!("{line}: SELECT 3;")];
            assert_eq!(pieces(&both).unwrap(), expected, "{statement}");
        }
    }

    #[test]
    fn commands_of_psql_are_told_apart_and_bom_and_comments_passed_over() {
        let text =
            "\u{feff}-- Dumped from database version 9.6.24\r\n\\restrict abc\r\n/* x */ SET a = 1;\r\n\\c x";
        assert_eq!(pieces(text).unwrap(), ["2! \\restrict abc", "3: SET a = 1;", "4! \\c x"]);
        let mut script = Script::new(Input::new(text.as_bytes()));
        script.next().unwrap();
        assert_eq!(script.origin.server_version.as_deref(), Some("9.6.24"));
    }

    #[test]
    fn what_has_no_end_is_named_by_its_line() {
        for (text, line) in [
            ("SELECT 1;\nSELECT\n 'a;", 3),
            ("\n\"a", 2),
            ("SELECT $q$ a; $$", 1),
            ("/* a", 1),
            ("SELECT 1;\nSELECT 2", 2),
            ("SELECT \\x;", 1),
            ("SELECT 'a\0b';", 1),
        ] {
            let error = pieces(text).unwrap_err();
            assert!(error.message().starts_with(&format!("line {line}: ")), "{text:?}: {error}");
        }
    }

    #[test]
    fn backslashes_are_escapes_where_strings_do_not_conform() {
        let mut script = Script::new(Input::new(b"SELECT 'a\\';b';".as_slice()));
        script.set_standard_strings(false);
        let piece = script.next().unwrap();
        assert_eq!(piece, Some(Piece::Statement { text: b"SELECT 'a\\';b';".to_vec(), line: 1 }));
    }

    #[test]
    fn rows_follow_the_line_of_their_copy() {
        let mut script = Script::new(Input::new(b"COPY t FROM stdin;\n1\n2\n\\.\n\nSELECT 1;".as_slice()));
        script.next().unwrap();
        let mut rows = Vec::new();
        let copied = script.rows(&mut |piece| {
            rows.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!((copied.unwrap().rows, rows.as_slice()), (2, b"1\n2\n".as_slice()));
        assert_eq!(script.next().unwrap(), Some(Piece::Statement { text: b"SELECT 1;".to_vec(), line: 6 }));
        let mut cut = Script::new(Input::new(b"COPY t FROM stdin;\n1\n2".as_slice()));
        cut.next().unwrap();
        assert!(cut.rows(&mut |_| Ok(())).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_lose_a_byte(text in "[a-zE'\"$/*\\-;()\\\\ \n]{0,80}") {
            if let Ok(found) = pieces(&text) {
                let all: String = found.concat();
                let quotes = |text: &str| text.matches('\'').count();
                prop_assert!(quotes(&all) <= quotes(&text));
            }
        }
    }
}
