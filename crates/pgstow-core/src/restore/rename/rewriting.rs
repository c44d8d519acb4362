//! Qualified names in statements, found by reading the statement's tokens. Pure.
//!
//! pg_dump and the server's own printing functions write the name of everything outside of
//! `pg_catalog` with its schema. So a table that is made in another schema needs only these pairs of
//! tokens written anew, and names in string constants that are cast to `regclass`. Strings of any
//! other kind (bodies of functions, comments, defaults) are text and stay.

use std::collections::BTreeSet;

use crate::inventory::name_parts;
use crate::postgres::identifier::quote_identifier;
use crate::restore::selection::TableName;

/// Names that are written with another schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) names: BTreeSet<TableName>,
    /// The schema that they are in meanwhile.
    pub(super) schema: String,
}

/// A token, by where it is in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'t> {
    /// An identifier or keyword, with its value.
    Word(&'t str, String),
    /// A string constant, with its value.
    Text(&'t str, String),
    /// Blanks and comments.
    Blank(&'t str),
    /// Anything else, one character or one dollar-quoted string.
    Other(&'t str),
}

impl<'t> Token<'t> {
    fn text(&self) -> &'t str {
        match self {
            Self::Word(text, _) | Self::Text(text, _) | Self::Blank(text) | Self::Other(text) => text,
        }
    }
}

impl Moved {
    /// The text with every name that moved in its other schema.
    pub(super) fn rewrite(&self, text: &str) -> String {
        let tokens = tokens(text);
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let after_dot = at > 0 && matches!(tokens.get(at - 1), Some(Token::Other(".")));
            match (token, tokens.get(at + 1), tokens.get(at + 2)) {
                (Token::Word(_, schema), Some(Token::Other(".")), Some(Token::Word(name_text, name)))
                    if !after_dot && self.has(schema, name) =>
                {
                    out.push_str(&quote_identifier(&self.schema));
                    out.push('.');
                    out.push_str(name_text);
                    at += 3;
                    continue;
                }
                (Token::Text(_, value), _, _)
                    if is_cast_to_regclass(tokens.get(at + 1..).unwrap_or_default()) =>
                {
                    out.push_str(&self.constant(value).unwrap_or_else(|| token.text().to_owned()));
                }
                _ => out.push_str(token.text()),
            }
            at += 1;
        }
        out
    }

    pub(super) fn has(&self, schema: &str, name: &str) -> bool {
        self.names.contains(&(schema.to_owned(), name.to_owned()))
    }

    /// The constant that names the same object in its other schema.
    fn constant(&self, value: &str) -> Option<String> {
        let parts = name_parts(value);
        let [schema, name] = parts.as_slice() else { return None };
        let mut quoted = false;
        let dot = value.find(|character| {
            quoted ^= character == '"';
            character == '.' && !quoted
        });
        let name_text = value.get(dot? + 1..)?;
        self.has(schema, name).then(|| {
            let moved = format!("{}.{name_text}", quote_identifier(&self.schema));
            format!("'{}'", moved.replace('\'', "''"))
        })
    }
}

/// Whether a string in the text, such as a function's body, holds the word.
pub(super) fn mentions(text: &str, word: &str) -> bool {
    let holds = |text: &str| {
        text.match_indices(word).any(|(at, _)| {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let before = text.get(..at).and_then(|text| text.chars().next_back());
            let after = text.get(at + word.len()..).and_then(|text| text.chars().next());
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
    };
    tokens(text).iter().any(|token| match token {
        Token::Text(_, value) => holds(value),
        Token::Other(other) => other.len() > 1 && holds(other),
        Token::Word(..) | Token::Blank(_) => false,
    })
}

fn is_cast_to_regclass(rest: &[Token<'_>]) -> bool {
    let mut rest = rest.iter();
    let colons = matches!((rest.next(), rest.next()), (Some(Token::Other(":")), Some(Token::Other(":"))));
    colons && matches!(rest.next(), Some(Token::Word(_, word)) if word == "regclass")
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let token = next(rest);
        rest = rest.get(token.text().len()..).unwrap_or_default();
        tokens.push(token);
    }
    tokens
}

fn next(text: &str) -> Token<'_> {
    let cut = |length: usize| text.get(..length).unwrap_or(text);
    let first = text.chars().next().unwrap_or_default();
    let second = text.chars().nth(1);
    match first {
        '"' => {
            let length = quoted(text, '"', false);
            Token::Word(cut(length), unquoted(cut(length), '"'))
        }
        '\'' => {
            let length = quoted(text, '\'', false);
            Token::Text(cut(length), unquoted(cut(length), '\''))
        }
        'E' | 'e' if second == Some('\'') => {
            Token::Other(cut(1 + quoted(text.get(1..).unwrap_or_default(), '\'', true)))
        }
        '-' if second == Some('-') => Token::Blank(cut(text.find('\n').unwrap_or(text.len()))),
        '$' => Token::Other(cut(dollar_quoted(text))),
        first if first.is_whitespace() => Token::Blank(cut(first.len_utf8())),
        first if first.is_alphabetic() || first == '_' => {
            let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
            let word = cut(end.unwrap_or(text.len()));
            Token::Word(word, word.to_owned())
        }
        first if first.is_ascii_digit() => {
            let end = text.find(|c: char| !c.is_alphanumeric());
            Token::Other(cut(end.unwrap_or(text.len())))
        }
        first => Token::Other(cut(first.len_utf8())),
    }
}

/// Length of what `text` quotes, with both quotes.
fn quoted(text: &str, quote: char, backslashes: bool) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if backslashes && character == '\\'
            || character == quote && characters.peek().is_some_and(|(_, next)| *next == quote)
        {
            characters.next();
        } else if character == quote {
            return at + quote.len_utf8();
        }
    }
    text.len()
}

fn unquoted(text: &str, quote: char) -> String {
    let inner = text.strip_prefix(quote).unwrap_or(text);
    let inner = inner.strip_suffix(quote).unwrap_or(inner);
    inner.replace(&format!("{quote}{quote}"), &quote.to_string())
}

/// Length of a dollar-quoted string, or of the dollar alone.
fn dollar_quoted(text: &str) -> usize {
    let Some(end) = text.get(1..).and_then(|rest| rest.find('$')) else { return 1 };
    let Some(tag) = text.get(..end + 2) else { return 1 };
    let name = tag.trim_matches('$');
    if !name.chars().all(|c| c.is_alphanumeric() || c == '_')
        || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return 1;
    }
    let body = text.get(tag.len()..).unwrap_or_default();
    body.find(tag).map_or(text.len(), |end| end + 2 * tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(names: &[(&str, &str)]) -> Moved {
        let names = names.iter().map(|(schema, name)| ((*schema).to_owned(), (*name).to_owned())).collect();
        Moved { names, schema: "tmp".into() }
    }

    #[test]
    fn only_qualified_names_that_moved_are_written_anew() {
        let moved = moved(&[("public", "orders"), ("public", "orders_id_seq"), ("S.1", "t \"x\"")]);
        for (text, expected) in [
            ("CREATE TABLE public.orders (\n id int\n);", "CREATE TABLE \"tmp\".orders (\n id int\n);"),
            ("CREATE TABLE public.orders_2 ();", "CREATE TABLE public.orders_2 ();"),
            ("\"S.1\".\"t \"\"x\"\"\"", "\"tmp\".\"t \"\"x\"\"\""),
            (
                "DEFAULT nextval('public.orders_id_seq'::regclass)",
                "DEFAULT nextval('\"tmp\".orders_id_seq'::regclass)",
            ),
            ("CHECK (a <> 'public.orders')", "CHECK (a <> 'public.orders')"),
            ("CHECK (a <> 'public.orders'::text)", "CHECK (a <> 'public.orders'::text)"),
            ("-- Name: public.orders\nSELECT 1", "-- Name: public.orders\nSELECT 1"),
            (
                "AS $f$ SELECT public.orders $f$ FROM public.orders",
                "AS $f$ SELECT public.orders $f$ FROM \"tmp\".orders",
            ),
            ("E'it\\'s public.orders' || public.orders", "E'it\\'s public.orders' || \"tmp\".orders"),
            ("a.public.orders", "a.public.orders"),
            ("public.orders.id", "\"tmp\".orders.id"),
            ("x.orders, orders.*, $1, 1.5", "x.orders, orders.*, $1, 1.5"),
            ("'it''s' public.orders", "'it''s' \"tmp\".orders"),
        ] {
            assert_eq!(moved.rewrite(text), expected);
        }
    }

    #[test]
    fn a_word_is_found_in_strings_only() {
        let function =
            |body: &str| format!("CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS $_$ {body} $_$;");
        assert!(mentions(&function("SELECT count(*) FROM app.t"), "app"));
        assert!(mentions("CREATE FUNCTION f() AS 'SELECT 1 FROM app.t'", "app"));
        assert!(!mentions(&function("SELECT 1 FROM happy.t"), "app"));
    }

    #[test]
    fn text_that_ends_too_early_stays_as_it_is() {
        let moved = moved(&[("public", "orders")]);
        for text in ["\"public", "'public.orders", "$a$ public.orders", "E'\\", "public.", "$", "ü$"] {
            assert_eq!(moved.rewrite(text), text);
        }
    }
}
