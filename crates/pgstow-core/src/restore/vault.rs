//! Secrets of the vault: made again where the target has a vault and the login may. Those that are there stay.

use std::io::Write;

use super::journal::Journal;
use super::session::{Session, is_fatal};
use super::{Planned, entry};
use crate::error::Result;
use crate::inventory::catalog::VaultSecret;
use crate::postgres::catalog::vault;
use crate::postgres::{Connection, QueryError};

/// A table of its own rather than statements with values: servers write statements to their log.
const BEGIN: &str = "CREATE TEMPORARY TABLE pgstow_secrets \
    (name pg_catalog.text, description pg_catalog.text, value pg_catalog.text)";
const COPY: &str = "COPY pg_temp.pgstow_secrets FROM STDIN";
/// Names that are there with something else behind them.
const DIFFERENT: &str = "SELECT w.name FROM pg_temp.pgstow_secrets w \
    JOIN vault.decrypted_secrets s ON s.name = w.name \
    WHERE s.decrypted_secret IS DISTINCT FROM w.value ORDER BY 1";
const MAKE: &str = "SELECT vault.create_secret(w.value, w.name, COALESCE(w.description, '')) \
    FROM pg_temp.pgstow_secrets w WHERE NOT EXISTS (SELECT FROM vault.decrypted_secrets s \
    WHERE s.name = w.name OR (s.name IS NULL AND w.name IS NULL AND s.decrypted_secret = w.value))";
const END: &str = "DROP TABLE pg_temp.pgstow_secrets";

/// Makes the backup's secrets.
///
/// # Errors
/// What ends the restore; other failures are noted.
pub(super) fn restore(session: &mut Session, planned: &Planned<'_>, journal: &Journal) -> Result<()> {
    let secrets = &planned.catalog.secrets;
    if secrets.is_empty() {
        return Ok(());
    }
    let lost = |why: &str| {
        let what =
            if secrets.len() == 1 { "1 secret".to_owned() } else { format!("{} secrets", secrets.len()) };
        journal.problem(format!("{what} of the vault are not restored: {why}"));
    };
    if !vault::is_writable(&mut session.connection)? {
        lost("the target has no vault, or this role may not use it");
        return Ok(());
    }
    match session.guarded(|connection| make(connection, secrets)) {
        Ok(different) => {
            for name in different {
                journal.remark(format!(
                    "secret {} of the vault has another value here, and stays",
                    entry::visible(&name)
                ));
            }
            Ok(())
        }
        Err(error) if is_fatal(&error) => Err(error.into()),
        // The server's message may repeat a value.
        Err(error) => {
            lost(&format!("the server refused [{}]", error.code().unwrap_or("no answer")));
            Ok(())
        }
    }
}

/// Names of those that are there with another value.
fn make(connection: &mut Connection, secrets: &[VaultSecret]) -> Result<Vec<String>, QueryError> {
    connection.execute(BEGIN)?;
    let mut copy = connection.copy_in(COPY)?;
    let sent = secrets.iter().try_for_each(|secret| copy.write_all(row(secret).as_bytes()));
    copy.finish()?;
    sent.map_err(QueryError::Sink)?;
    let rows = connection.query(DIFFERENT)?;
    let different = rows.iter().map(|row| row.get(0)).collect::<Result<_, QueryError>>()?;
    connection.query(MAKE)?;
    connection.execute(END)?;
    Ok(different)
}

/// A line of COPY's text format.
fn row(secret: &VaultSecret) -> String {
    let fields = [secret.name.as_deref(), secret.description.as_deref(), Some(&secret.value)];
    let fields: Vec<String> =
        fields.iter().map(|field| field.map_or_else(|| "\\N".to_owned(), escaped)).collect();
    format!("{}\n", fields.join("\t"))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line_whatever_it_holds() {
        let secret = VaultSecret {
            name: Some("a\tb".into()),
            description: None,
            value: "two\nlines\\N \r \\.".into(),
        };
        assert_eq!(row(&secret), "a\\tb\t\\N\ttwo\\nlines\\\\N \\r \\\\.\n");
    }
}
