//! Variables that configuration refers to: those of the process, then those of `.env` beside it.

use std::collections::BTreeMap;
use std::path::Path;

use pgstow_core::{Error, ErrorKind, Result};

use super::dotenv;
use crate::process::Process;

/// Named values; those of the process win over those of `.env`.
#[derive(Clone, Default)]
pub(crate) struct Variables {
    values: BTreeMap<String, String>,
}

impl Variables {
    /// Of the process and of `folder/.env`, if there is one.
    ///
    /// # Errors
    /// When that file cannot be read.
    pub(crate) fn load(process: &Process, folder: &Path) -> Result<Self> {
        let mut values = read_dotenv(&folder.join(".env"))?.unwrap_or_default();
        values.extend(process.variables().clone());
        Ok(Self { values })
    }

    /// The value of a variable; an empty one counts as not set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Names of all variables that are set.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
    }

    /// All of them.
    pub(crate) fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// Replaces every `${NAME}` in `text`; `$${` stands for `${`. Any other `$` is itself. `key` is
    /// how errors call the text.
    ///
    /// # Errors
    /// Usage: a variable that is not set, or a `${` that is no reference.
    pub(crate) fn expand(&self, text: &str, key: &str) -> Result<String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, reference) = rest.split_at(start);
            let reference = reference.strip_prefix("${").unwrap_or_default();
            if let Some(before) = before.strip_suffix('$') {
                expanded.push_str(before);
                expanded.push_str("${");
                rest = reference;
                continue;
            }
            expanded.push_str(before);
            let (name, after) = reference.split_once('}').unwrap_or((reference, ""));
            if !is_variable_name(name) || !reference.contains('}') {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("{key}: a \"${{\" is not followed by NAME}}"),
                )
                .hint("write ${NAME} to refer to a variable, or $${ for the characters themselves"));
            }
            let value = self.get(name).ok_or_else(|| not_set(name, key))?;
            expanded.push_str(value);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }
}

/// Letters, digits and underscores, not beginning with a digit.
pub(crate) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn not_set(name: &str, key: &str) -> Error {
    Error::new(ErrorKind::Usage, format!("{key} needs the variable {name}, which is not set"))
        .hint(format!("set {name} in the environment or in .env beside pgstow.toml"))
}

/// The variables of a `.env` file; `None` when there is no such file.
///
/// # Errors
/// Usage: it cannot be read.
pub(crate) fn read_dotenv(path: &Path) -> Result<Option<BTreeMap<String, String>>> {
    let cannot = || Error::new(ErrorKind::Usage, format!("cannot read {}", path.display()));
    match std::fs::read_to_string(path) {
        Ok(content) => dotenv::parse(&content).map(Some).map_err(|error| cannot().source(error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot().source(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        Variables { values: [("URL", "postgres://h/d"), ("P", "a$b"), ("EMPTY", "")].map(owned).into() }
    }

    fn owned((name, value): (&str, &str)) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn references_are_replaced_and_other_dollars_are_kept() {
        let cases = [
            ("${URL}", "postgres://h/d"),
            ("postgres://u:${P}@h", "postgres://u:a$b@h"),
            ("pa$$word$", "pa$$word$"),
            ("$URL", "$URL"),
            ("$${URL}", "${URL}"),
            ("${URL}${URL}", "postgres://h/dpostgres://h/d"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(variables().expand(text, "env.a.url").unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_unset_or_empty_is_named_with_its_key() {
        for name in ["MISSING", "EMPTY"] {
            let error = variables().expand(&format!("x${{{name}}}"), "env.prod.url").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert_eq!(error.message(), format!("env.prod.url needs the variable {name}, which is not set"));
        }
    }

    #[test]
    fn a_reference_that_is_none_is_refused() {
        for text in ["${", "${URL", "${}", "${URL:-x}", "${A B}"] {
            assert!(variables().expand(text, "env.prod.url").is_err(), "{text}");
        }
    }

    #[test]
    fn the_process_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "A=file\nB=file\n").unwrap();
        let process = Process::with_variables(&[("A", "process")]);
        let variables = Variables::load(&process, folder.path()).unwrap();
        assert_eq!((variables.get("A"), variables.get("B")), (Some("process"), Some("file")));
    }
}
