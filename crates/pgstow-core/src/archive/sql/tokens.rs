//! The tokens of one statement: as much of SQL as is needed to see what a statement is about.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or a name without quotes.
    Word,
    /// A name in quotes.
    Quoted,
    /// A string in any quotes.
    Text,
    /// Anything else, one byte.
    Symbol(u8),
}

/// A token and its place in the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    pub(super) text: &'t [u8],
    pub(super) start: usize,
}

impl Token<'_> {
    /// Whether it is this keyword (in capitals).
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word.as_bytes())
    }

    pub(super) fn is_symbol(&self, symbol: u8) -> bool {
        self.kind == Kind::Symbol(symbol)
    }

    /// The name that it is, folded or unquoted.
    pub(super) fn name(&self) -> Option<Vec<u8>> {
        match self.kind {
            Kind::Word => Some(self.text.to_ascii_lowercase()),
            Kind::Quoted => {
                let inner = self.text.get(1..self.text.len().saturating_sub(1)).unwrap_or_default();
                let mut name = Vec::with_capacity(inner.len());
                let mut doubled = false;
                for byte in inner {
                    let is_second = *byte == b'"' && doubled;
                    doubled = *byte == b'"' && !is_second;
                    if !is_second {
                        name.push(*byte);
                    }
                }
                Some(name)
            }
            _ => None,
        }
    }

    /// The content of a string in ordinary quotes, as it is written.
    pub(super) fn string(&self) -> Option<&[u8]> {
        if self.kind != Kind::Text {
            return None;
        }
        let from = self.text.iter().position(|byte| *byte == b'\'')? + 1;
        self.text.get(from..self.text.len().saturating_sub(1))
    }

    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// A name as text: UTF-8, or else every byte a character, as in LATIN1.
pub(crate) fn utf8_name(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Gives the tokens of a statement, comments and blanks left out.
pub(super) struct Tokens<'t> {
    text: &'t [u8],
    place: usize,
}

/// The tokens of `text`.
pub(super) fn tokens(text: &[u8]) -> Tokens<'_> {
    Tokens { text, place: 0 }
}

impl<'t> Tokens<'t> {
    fn at(&self, place: usize) -> Option<u8> {
        self.text.get(place).copied()
    }

    fn rest(&self) -> &'t [u8] {
        self.text.get(self.place..).unwrap_or_default()
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            if rest.first().is_some_and(|byte| byte.is_ascii_whitespace() || *byte == 0x0b) {
                self.place += 1;
            } else if rest.starts_with(b"--") {
                self.place += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            } else if rest.starts_with(b"/*") {
                self.place += comment_length(rest);
            } else {
                return;
            }
        }
    }

    /// Where the quoted text that begins at `from` ends.
    fn quoted_end(&self, from: usize, quote: u8, escapes: bool) -> usize {
        let mut place = from + 1;
        while let Some(byte) = self.at(place) {
            if byte == b'\\' && escapes {
                place += 1;
            } else if byte == quote {
                if self.at(place + 1) != Some(quote) {
                    return place + 1;
                }
                place += 1;
            }
            place += 1;
        }
        self.text.len()
    }

    /// Where the dollar quote that begins at `from` ends, if one does.
    fn dollar_end(&self, from: usize) -> Option<usize> {
        let mut place = from + 1;
        if self.at(place).is_some_and(|byte| byte.is_ascii_digit()) {
            return None;
        }
        while self.at(place).is_some_and(is_word) {
            place += 1;
        }
        if self.at(place) != Some(b'$') {
            return None;
        }
        let tag = self.text.get(from..=place)?;
        let body = self.text.get(place + 1..)?;
        let end = body.windows(tag.len()).position(|window| window == tag)?;
        Some(place + 1 + end + tag.len())
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        self.skip_blank();
        let start = self.place;
        let first = self.at(start)?;
        let (kind, end) = match first {
            b'\'' => (Kind::Text, self.quoted_end(start, b'\'', false)),
            b'"' => (Kind::Quoted, self.quoted_end(start, b'"', false)),
            b'$' => match self.dollar_end(start) {
                Some(end) => (Kind::Text, end),
                None => (Kind::Symbol(first), start + 1),
            },
            byte if is_word(byte) => {
                let mut end = start;
                while self.at(end).is_some_and(|byte| is_word(byte) || byte == b'$') {
                    end += 1;
                }
                let is_escape = matches!(self.text.get(start..end), Some(b"E" | b"e"));
                if is_escape && self.at(end) == Some(b'\'') {
                    (Kind::Text, self.quoted_end(end, b'\'', true))
                } else {
                    (Kind::Word, end)
                }
            }
            byte => (Kind::Symbol(byte), start + 1),
        };
        self.place = end;
        Some(Token { kind, text: self.text.get(start..end).unwrap_or_default(), start })
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn comment_length(text: &[u8]) -> usize {
    let (mut depth, mut place) = (0_usize, 0);
    while let Some(rest) = text.get(place..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(b"/*") {
            depth += 1;
            place += 2;
        } else if rest.starts_with(b"*/") {
            depth = depth.saturating_sub(1);
            place += 2;
            if depth == 0 {
                return place;
            }
        } else {
            place += 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_words_and_strings_are_told_apart() {
        let text = b"COPY \"a\"\"b\".t /* x */ -- y\n ('it''s', E'\\'', $x$ $$ $x$);";
        let found: Vec<String> =
            tokens(text).map(|token| String::from_utf8_lossy(token.text).into_owned()).collect();
        let expected =
            ["COPY", "\"a\"\"b\"", ".", "t", "(", "'it''s'", ",", "E'\\''", ",", "$x$ $$ $x$", ")", ";"];
        assert_eq!(found, expected);
        assert_eq!(tokens(text).nth(1).and_then(|token| token.name()), Some(b"a\"b".to_vec()));
        assert_eq!(utf8_name(b"caf\xe9"), "café");
    }
}
