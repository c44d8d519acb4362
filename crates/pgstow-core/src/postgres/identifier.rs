//! Names and strings inside SQL. Every identifier and literal that pgstow puts into a statement
//! passes through here.

use std::fmt::Write as _;

/// `"name"`, always quoted, inner quotes doubled. Any name the server can hold is safe.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."name"`.
pub fn quote_qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote_identifier(schema), quote_identifier(name))
}

/// A string literal that means the same whatever `standard_conforming_strings` says.
pub fn quote_literal(value: &str) -> String {
    if value.contains('\\') {
        let mut quoted = String::from(" E'");
        for character in value.chars() {
            match character {
                '\'' => quoted.push_str("''"),
                '\\' => quoted.push_str("\\\\"),
                other => quoted.push(other),
            }
        }
        quoted.push('\'');
        quoted
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}

/// `"name" TO value`, as `ALTER ROLE … SET` takes a setting. Lists of names are kept quoted by the
/// server (`GUC_LIST_QUOTE`, the list that pg_dump knows too) and go as they are.
pub fn quote_setting(name: &str, value: &str) -> String {
    let is_list = matches!(
        name,
        "local_preload_libraries"
            | "search_path"
            | "session_preload_libraries"
            | "shared_preload_libraries"
            | "temp_tablespaces"
            | "unix_socket_directories"
    );
    let value = if is_list && !value.is_empty() { value.to_owned() } else { quote_literal(value) };
    format!("{} TO {}", quote_identifier(name), value.trim_start())
}

/// `schema.name` for people: quoted only where needed, control characters escaped.
pub fn display_name(schema: &str, name: &str) -> String {
    format!("{}.{}", display_part(schema), display_part(name))
}

/// A name for people: quoted only where needed, control characters escaped.
pub fn display_part(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain {
        return name.to_owned();
    }
    let mut shown = String::from("\"");
    for character in name.chars() {
        match character {
            '"' => shown.push_str("\"\""),
            control if control.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(shown, "{}", control.escape_default());
            }
            other => shown.push(other),
        }
    }
    shown.push('"');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_always_quoted_in_sql() {
        assert_eq!(quote_identifier("plain"), "\"plain\"");
        assert_eq!(quote_qualified("a\"b", "c.d"), "\"a\"\"b\".\"c.d\"");
    }

    #[test]
    fn names_for_people_are_quoted_only_where_needed_and_stay_on_one_line() {
        assert_eq!(display_name("public", "orders_2"), "public.orders_2");
        assert_eq!(display_name("Public", "2nd"), "\"Public\".\"2nd\"");
        assert_eq!(display_name("", "a\nb\u{1b}[31m\"😀"), "\"\".\"a\\nb\\u{1b}[31m\"\"😀\"");
    }
}
