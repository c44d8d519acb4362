//! The user's own checks: one query each, in a read-only transaction, with a limit of time.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::postgres::{Connection, ConnectionSettings, QueryError};
use crate::repository::format::receipt::CheckResult;

/// How much of a value a result shows, in characters.
const SHOWN: usize = 200;

/// A query and what it should find.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Its name, as people call it.
    pub name: String,
    /// One SELECT or VALUES.
    pub sql: String,
    /// What it should find.
    pub expectation: Expectation,
    /// How long it may take.
    pub timeout: Duration,
}

/// What a check should find.
#[derive(Debug, Clone, PartialEq)]
pub enum Expectation {
    /// One row of one column, with this text.
    Value(String),
    /// One row of one column: a number, and at least this.
    AtLeast(f64),
    /// So many rows, whatever is in them.
    Rows(u64),
}

impl Expectation {
    fn in_words(&self) -> String {
        match self {
            Self::Value(value) => value.clone(),
            Self::AtLeast(number) => format!("at least {number}"),
            Self::Rows(rows) => rows_in_words(*rows),
        }
    }

    /// Whether a value is as expected; rows are counted elsewhere.
    fn is_met_by(&self, value: &str) -> bool {
        match self {
            Self::Value(expected) => value == expected,
            Self::AtLeast(least) => value.trim().parse::<f64>().is_ok_and(|number| number >= *least),
            Self::Rows(_) => false,
        }
    }
}

fn rows_in_words(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

/// Runs the checks one after the other; one that cannot be run has not passed.
///
/// # Errors
/// The connection's; interrupted.
pub(super) fn run(
    settings: &ConnectionSettings,
    checks: &[Check],
    interrupt: &Interrupt,
) -> Result<Vec<CheckResult>> {
    let mut results = Vec::new();
    if checks.is_empty() {
        return Ok(results);
    }
    let mut connection = Connection::open(settings, interrupt)?;
    for check in checks {
        interrupt.check()?;
        let begun = Instant::now();
        let outcome = one(&mut connection, check);
        interrupt.check()?;
        let lost = matches!(&outcome, Err(error) if error.is_lost());
        let (passed, found) = outcome.unwrap_or_else(|error| (false, format!("cannot be run: {error}")));
        results.push(CheckResult {
            name: check.name.clone(),
            passed,
            expected: check.expectation.in_words(),
            found,
            seconds: begun.elapsed().as_secs_f64(),
        });
        if lost {
            connection = Connection::open(settings, interrupt)?;
        } else {
            connection.execute("ROLLBACK")?;
        }
    }
    Ok(results)
}

/// A cursor bounds what comes over: two rows show that there is not one.
fn one(connection: &mut Connection, check: &Check) -> Result<(bool, String), QueryError> {
    connection.execute(&format!(
        "BEGIN TRANSACTION READ ONLY; SET LOCAL statement_timeout = {}",
        check.timeout.as_millis().max(1)
    ))?;
    let query = check.sql.trim().trim_end_matches(';');
    // With parameters, even none, the server takes one statement and no more.
    connection.query_with(&format!("DECLARE pgstow_check NO SCROLL CURSOR FOR {query}"), &[])?;
    if let Expectation::Rows(expected) = check.expectation {
        let found = connection.execute("MOVE FORWARD ALL IN pgstow_check")?;
        return Ok((found == expected, rows_in_words(found)));
    }
    let rows = connection.query("FETCH 2 FROM pgstow_check")?;
    let mut all = rows.iter();
    let (Some(row), None) = (all.next(), all.next()) else {
        let found = if rows.is_empty() { "no row" } else { "more than one row" };
        return Ok((false, found.to_owned()));
    };
    if row.get::<Option<&str>>(1).is_ok() {
        return Ok((false, "more than one column".to_owned()));
    }
    let Some(value) = row.get::<Option<&str>>(0)? else { return Ok((false, "NULL".to_owned())) };
    let mut shown: String = value.chars().take(SHOWN).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    Ok((check.expectation.is_met_by(value), shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers_and_texts_as_texts() {
        for (expectation, value, met) in [
            (Expectation::Value("10".into()), "10", true),
            (Expectation::Value("10".into()), "10.0", false),
            (Expectation::AtLeast(10.0), "10", true),
            (Expectation::AtLeast(10.0), "9.5", false),
            (Expectation::AtLeast(10.0), "1e3", true),
            (Expectation::AtLeast(10.0), "many", false),
            (Expectation::AtLeast(10.0), "NaN", false),
        ] {
            assert_eq!(expectation.is_met_by(value), met, "{expectation:?} {value}");
        }
    }
}
