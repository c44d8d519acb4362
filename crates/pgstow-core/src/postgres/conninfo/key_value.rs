//! `key=value` strings with libpq's quoting: `host=db user='a b' password='it\'s'`.

use std::iter::Peekable;
use std::str::Chars;

use super::parameters::{Parameters, is_word, suggestion};
use super::usage;
use crate::error::{Error, Result};

/// Reads a whole string.
pub(super) fn read(text: &str) -> Result<Parameters> {
    let mut parameters = Parameters::default();
    let mut rest = text.chars().peekable();
    // After a bare password anything may be a piece of it that needed quotes.
    let mut after_bare_password = false;
    loop {
        skip_spaces(&mut rest);
        if rest.peek().is_none() {
            return Ok(parameters);
        }
        let name = name(&mut rest);
        skip_spaces(&mut rest);
        if rest.next_if_eq(&'=').is_none() {
            return Err(no_equals_sign());
        }
        skip_spaces(&mut rest);
        let quoted = rest.next_if_eq(&'\'').is_some();
        let value = if quoted { quoted_value(&mut rest)? } else { bare_value(&mut rest) };
        let is_bare_password = name == "password" && !quoted;
        if !parameters.set(&name, value)? {
            return Err(unknown(&name, after_bare_password));
        }
        after_bare_password |= is_bare_password;
    }
}

fn skip_spaces(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(char::is_ascii_whitespace).is_some() {}
}

fn name(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut name = String::new();
    while let Some(character) = rest.next_if(|c| *c != '=' && !c.is_ascii_whitespace()) {
        name.push(character);
    }
    name
}

fn bare_value(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    while let Some(character) = rest.next_if(|c| !c.is_ascii_whitespace()) {
        match character {
            // A backslash at the end stands for nothing, as in libpq.
            '\\' => value.extend(rest.next()),
            other => value.push(other),
        }
    }
    value
}

fn quoted_value(rest: &mut Peekable<Chars<'_>>) -> Result<String> {
    let mut value = String::new();
    loop {
        match rest.next() {
            Some('\'') => return Ok(value),
            Some('\\') => value.extend(rest.next()),
            Some(other) => value.push(other),
            None => {
                return Err(usage("a quoted value in the connection string has no end")
                    .hint("close it with '; inside of it write \\' and \\\\"));
            }
        }
    }
}

fn no_equals_sign() -> Error {
    usage("the connection string is neither a URL nor a list of key=value pairs")
        .hint("write postgres://user:password@host:5432/database, or host=… user=… dbname=…")
        .hint("a value with spaces needs quotes: password='…'")
}

fn unknown(name: &str, after_bare_password: bool) -> Error {
    if after_bare_password {
        return usage("the connection string holds an unknown parameter after the password")
            .hint("a password with spaces needs quotes: password='…', with \\' and \\\\ inside");
    }
    if !is_word(name) {
        // Such as another program's URL: it may hold a password.
        return no_equals_sign();
    }
    let error = usage(format!("unknown connection parameter {name}"));
    match suggestion(name) {
        Some(known) => error.hint(format!("did you mean {known}?")),
        None => error.hint("parameters of other programs belong into a URL, where they are skipped"),
    }
}
