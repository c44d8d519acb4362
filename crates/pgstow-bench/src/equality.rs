//! Whether two databases hold the same: the server counts and hashes the rows of every table, and
//! shows the definitions that a restore has to bring.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::settings::ConnectionSettings;
use pgstow_core::{Error, Result};

use crate::stage;

/// Sessions that hash side by side.
const SESSIONS: usize = 2;
/// How many differences an error names.
const NAMED_DIFFERENCES: usize = 5;

/// Largest first, so that the sessions end together.
const TABLES: &str = "SELECT format('%I.%I', nspname, relname) FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
ORDER BY pg_table_size(pg_class.oid) DESC, 1";

/// Columns, indexes, constraints and sequences.
const DEFINITIONS: &str = r#"
SELECT format('column %s.%I', attrelid::regclass, attname),
       format('%s %s %s %s', format_type(atttypid, atttypmod), attnotnull, attidentity,
              pg_get_expr(adbin, adrelid))
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT format('index %s', indexrelid::regclass), format('%s %s', pg_get_indexdef(indexrelid), indisvalid)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT format('constraint %s of %s', conname, conrelid::regclass),
       format('%s %s', pg_get_constraintdef(pg_constraint.oid), convalidated)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT format('sequence %I.%I', schemaname, sequencename), format('%s', last_value) FROM pg_sequences"#;

/// What a database holds: names and what is at each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest(BTreeMap<String, String>);

impl Digest {
    /// Reads everything.
    ///
    /// # Errors
    /// The server's.
    pub(crate) fn of(settings: &ConnectionSettings, interrupt: &Interrupt) -> Result<Self> {
        let mut connection = stage::connect(settings, interrupt)?;
        let mut entries = BTreeMap::new();
        for row in connection.query(DEFINITIONS)?.iter() {
            entries.insert(row.get(0)?, row.get(1)?);
        }
        let tables = connection.query(TABLES)?;
        let tables = tables.iter().map(|row| row.get(0)).collect::<Result<Vec<String>, _>>()?;
        drop(connection);
        let waiting = Mutex::new(tables.into_iter());
        let hashed = std::thread::scope(|scope| {
            let sessions: Vec<_> =
                (0..SESSIONS).map(|_| scope.spawn(|| hash_tables(settings, interrupt, &waiting))).collect();
            sessions
                .into_iter()
                .map(|session| session.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Result<Vec<_>>>()
        })?;
        entries.extend(hashed.into_iter().flatten());
        Ok(Self(entries))
    }

    /// Makes sure that `other` holds the same.
    ///
    /// # Errors
    /// The first differences.
    pub(crate) fn must_equal(&self, other: &Self) -> Result<()> {
        let differences = self.differences(other);
        if differences.is_empty() {
            return Ok(());
        }
        let named: Vec<&str> = differences.iter().take(NAMED_DIFFERENCES).map(String::as_str).collect();
        Err(Error::failed(format!("the restored database differs in {} places", differences.len()))
            .why(named.join("; ")))
    }

    fn differences(&self, other: &Self) -> Vec<String> {
        let missing = "nothing".to_owned();
        let mut names: Vec<&String> = self.0.keys().chain(other.0.keys()).collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .filter(|&name| self.0.get(name) != other.0.get(name))
            .map(|name| {
                let at = |digest: &Self| digest.0.get(name).unwrap_or(&missing).clone();
                format!("{name}: {} in the source, {} in the restored database", at(self), at(other))
            })
            .collect()
    }
}

fn hash_tables(
    settings: &ConnectionSettings,
    interrupt: &Interrupt,
    waiting: &Mutex<std::vec::IntoIter<String>>,
) -> Result<Vec<(String, String)>> {
    let mut connection = stage::connect(settings, interrupt)?;
    let mut hashed = Vec::new();
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(table) = next else { return Ok(hashed) };
        let rows = connection.query(&format!(
            "SELECT count(*), sum(hash), bit_xor(hash) \
             FROM (SELECT hashtextextended(t::text, 0) AS hash FROM {table} AS t) AS hashes"
        ))?;
        let row = rows.only()?;
        let count: u64 = row.get(0)?;
        let [sum, xor] = [1, 2].map(|column| row.get::<Option<&str>>(column));
        let content = format!("{count} rows of sum {} and xor {}", sum?.unwrap_or("-"), xor?.unwrap_or("-"));
        hashed.push((format!("rows of {table}"), content));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(entries: &[(&str, &str)]) -> Digest {
        Digest(entries.iter().map(|&(name, content)| (name.to_owned(), content.to_owned())).collect())
    }

    #[test]
    fn equal_databases_have_no_differences() {
        let source = digest(&[("rows of a", "1"), ("index b", "btree")]);
        source.must_equal(&source.clone()).unwrap();
    }

    #[test]
    fn a_change_a_loss_and_an_addition_are_all_named() {
        let source = digest(&[("rows of a", "1"), ("index b", "btree")]);
        let restored = digest(&[("rows of a", "2"), ("index c", "gin")]);
        let error = source.must_equal(&restored).unwrap_err();
        assert!(error.message().contains("3 places"), "{error}");
        let reason = error.reason().unwrap();
        for part in ["rows of a: 1 in the source, 2 in", "index b: btree", "index c: nothing in the source"] {
            assert!(reason.contains(part), "{reason}");
        }
    }
}
