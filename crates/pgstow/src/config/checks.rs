//! `[[env.NAME.check]]`: what a drill asks the restored database.

use std::time::Duration;

use pgstow_core::drill::{Check, Expectation};
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::environment::parse_duration;

/// What the keys of a check are.
pub(super) const CHECK_KEYS: [&str; 6] = ["name", "sql", "expect", "expect_min", "expect_rows", "timeout"];
/// How long a check may take, unless it says.
const TIMEOUT: Duration = Duration::from_secs(60);

/// `[[env.NAME.check]]`.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CheckSection {
    name: Option<String>,
    sql: Option<String>,
    expect: Option<Scalar>,
    expect_min: Option<Scalar>,
    expect_rows: Option<u64>,
    timeout: Option<String>,
}

/// A value as people write it.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Integer(i64),
    Number(f64),
    Truth(bool),
}

impl Scalar {
    /// As PostgreSQL writes it.
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Truth(truth) => if *truth { "t" } else { "f" }.to_owned(),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            // A limit need not be exact beyond 15 digits.
            Self::Integer(number) => Some(*number as f64),
            Self::Number(number) if number.is_finite() => Some(*number),
            Self::Number(_) | Self::Text(_) | Self::Truth(_) => None,
        }
    }
}

/// The checks of an environment.
///
/// # Errors
/// Usage: what is missing, or given twice, by the check's name.
pub(super) fn checks(sections: &[CheckSection], environment: &EnvironmentName) -> Result<Vec<Check>> {
    let mut checks: Vec<Check> = Vec::new();
    for (number, section) in sections.iter().enumerate() {
        let place = match &section.name {
            Some(name) => format!("env.{environment}.check {name:?}"),
            None => format!("env.{environment}.check number {}", number + 1),
        };
        let check = check(section).map_err(|why| Error::new(ErrorKind::Usage, format!("{place}: {why}")))?;
        if checks.iter().any(|other| other.name == check.name) {
            return Err(Error::new(ErrorKind::Usage, format!("{place}: two checks have this name")));
        }
        checks.push(check);
    }
    Ok(checks)
}

fn check(section: &CheckSection) -> Result<Check, String> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let name = given(&section.name).ok_or("it has no name")?;
    let sql = given(&section.sql).ok_or("it has no sql")?;
    let expectation = match (&section.expect, &section.expect_min, section.expect_rows) {
        (Some(value), None, None) => Expectation::Value(value.text()),
        (None, Some(least), None) => {
            Expectation::AtLeast(least.number().ok_or("expect_min must be a number")?)
        }
        (None, None, Some(rows)) => Expectation::Rows(rows),
        _ => return Err("give one of expect, expect_min and expect_rows".to_owned()),
    };
    let timeout = section.timeout.as_deref().map(parse_duration).transpose();
    let timeout = timeout.map_err(|why| format!("timeout {why}"))?.unwrap_or(TIMEOUT);
    Ok(Check { name, sql, expectation, timeout })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Check>> {
        #[derive(Deserialize)]
        struct File {
            check: Vec<CheckSection>,
        }
        let file: File = toml::from_str(text).expect("the sections can be read");
        checks(&file.check, &EnvironmentName::new("prod").expect("a name"))
    }

    #[test]
    fn values_are_compared_as_postgresql_writes_them() {
        let text = "[[check]]\nname = 'a'\nsql = 'SELECT true'\nexpect = true\n\
                    [[check]]\nname = 'b'\nsql = 'SELECT 1'\nexpect = 1\ntimeout = '2m'\n\
                    [[check]]\nname = 'c'\nsql = 'SELECT 1'\nexpect_rows = 1\n\
                    [[check]]\nname = 'd'\nsql = 'SELECT 1'\nexpect_min = 0.5\n";
        let checks = read(text).expect("checks");
        let expected = [
            Expectation::Value("t".into()),
            Expectation::Value("1".into()),
            Expectation::Rows(1),
            Expectation::AtLeast(0.5),
        ];
        assert_eq!(checks.iter().map(|check| check.expectation.clone()).collect::<Vec<_>>(), expected);
        assert_eq!(checks[0].timeout, TIMEOUT);
        assert_eq!(checks[1].timeout, Duration::from_secs(120));
    }

    #[test]
    fn what_a_check_lacks_is_said_with_its_name() {
        for (text, expected) in [
            ("[[check]]\nsql = 'x'\nexpect = 1", "env.prod.check number 1: it has no name"),
            ("[[check]]\nname = 'a'\nexpect = 1", "env.prod.check \"a\": it has no sql"),
            ("[[check]]\nname = 'a'\nsql = 'x'", "env.prod.check \"a\": give one of"),
            (
                "[[check]]\nname = 'a'\nsql = 'x'\nexpect = 1\nexpect_rows = 1",
                "env.prod.check \"a\": give one of",
            ),
            ("[[check]]\nname = 'a'\nsql = 'x'\nexpect_min = 'x'", "env.prod.check \"a\": expect_min"),
            (
                "[[check]]\nname = 'a'\nsql = 'x'\nexpect = 1\ntimeout = '-1s'",
                "env.prod.check \"a\": timeout",
            ),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.message().starts_with(expected), "{error}");
        }
    }
}
