//! Which extensions of a backup a place can have: tried, before anything is restored.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::Entry;
use crate::error::{Error, Result, and_more};
use crate::inventory::catalog::Catalog;
use crate::platform::{Platform, supabase};
use crate::postgres::identifier::quote_identifier;
use crate::postgres::{Connection, QueryError};
use crate::restore::{Reduction, needing};

/// How many names an error lists before it only counts.
const NAMED: usize = 5;

/// Extensions that are there to open connections or to start programs, and languages that can.
const REACHING: [&str; 19] = [
    "aws_lambda",
    "aws_s3",
    "azure_storage",
    "dblink",
    "http",
    "pg_background",
    "pg_cron",
    "pg_net",
    "pglogical",
    "pljava",
    "pljavau",
    "plperlu",
    "plproxy",
    "plpython2u",
    "plpython3u",
    "plpythonu",
    "plsh",
    "pltclu",
    "wrappers",
];

/// What is left out, by choice or because it is the platform's own.
///
/// # Errors
/// Refused when an extension is not there, or must not be, and nobody chose to go without it.
pub(super) fn decide(
    entries: &[Entry],
    catalog: &Catalog,
    without: &BTreeSet<String>,
    lacking: BTreeMap<String, String>,
) -> Result<Reduction> {
    let mut reduction = Reduction::default();
    let is_known = |name: &String| extensions(entries).any(|known| known == name);
    if let Some(unknown) = without.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = extensions(entries).collect();
        let error = Error::refused(format!("the backup has no extension {unknown}"));
        return Err(if known.is_empty() {
            error.hint("it has none at all")
        } else {
            error.hint(format!("its extensions are {}", known.join(", ")))
        });
    }
    for name in without {
        reduction.extensions.insert(name.clone(), "left out as asked (--drill-without)".to_owned());
    }
    let is_platforms = |name: &str| {
        catalog.hosting.platform == Platform::Supabase && supabase::OWN_EXTENSIONS.contains(&name)
    };
    for (name, reason) in lacking {
        if is_platforms(&name) {
            let reason = format!("it is {}'s own: {reason}", catalog.hosting.platform);
            reduction.extensions.entry(name).or_insert(reason);
        } else if !reduction.extensions.contains_key(&name) {
            return Err(refusal(entries, &name, &reason));
        }
    }
    Ok(reduction)
}

fn extensions(entries: &[Entry]) -> impl Iterator<Item = &str> {
    entries.iter().filter(|entry| entry.kind == "EXTENSION").map(|entry| entry.tag.as_str())
}

fn refusal(entries: &[Entry], name: &str, reason: &str) -> Error {
    let needing = needing(entries, name);
    let named: Vec<&str> = needing.iter().take(NAMED).map(String::as_str).collect();
    let more = and_more(needing.len().saturating_sub(NAMED));
    let needed = if needing.is_empty() {
        "nothing else of the backup needs it, as far as its definitions tell".to_owned()
    } else {
        format!("it is needed by {}{more}", named.join(", "))
    };
    Error::refused(format!("the drill cannot have extension {name}: {reason}"))
        .why(needed)
        .hint(format!("--drill-without {name} leaves it out with what needs it, and says so in the result"))
}

/// Extensions of the backup that cannot be made in this database, each with the reason. All is rolled
/// back.
///
/// # Errors
/// The connection's.
pub(super) fn try_out(
    connection: &mut Connection,
    entries: &[Entry],
) -> Result<BTreeMap<String, String>, QueryError> {
    let mut lacking = BTreeMap::new();
    connection.execute("BEGIN")?;
    for name in extensions(entries) {
        connection.execute("SAVEPOINT pgstow")?;
        let statement = format!("CREATE EXTENSION IF NOT EXISTS {} CASCADE", quote_identifier(name));
        if let Err(error) = connection.execute(&statement) {
            if error.is_lost() || matches!(error, QueryError::Interrupted) {
                return Err(error);
            }
            lacking.insert(name.to_owned(), error.to_string());
            connection.execute("ROLLBACK TO SAVEPOINT pgstow")?;
        }
    }
    connection.execute("ROLLBACK")?;
    Ok(lacking)
}

/// Extensions of the backup with which its own functions could open connections, or start programs that
/// do; a place that is shut off needs not care. With postgres_fdw alone nobody gets anywhere: a drill makes
/// no user mappings.
pub(super) fn reaching(entries: &[Entry]) -> BTreeMap<String, String> {
    let reaches =
        |name: &&str| REACHING.contains(name) || (name.ends_with("_fdw") && *name != "postgres_fdw");
    let reason = "with it functions of the backup could reach other servers from there";
    extensions(entries).filter(reaches).map(|name| (name.to_owned(), reason.to_owned())).collect()
}
