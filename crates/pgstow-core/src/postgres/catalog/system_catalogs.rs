//! The system catalogs that definitions come from: how many rows each holds in the session's
//! snapshot, and whether any of them is newer than an earlier snapshot.
//!
//! Every table that initdb makes in `pg_catalog` counts, so that a catalog of a later server version
//! counts too, except those in `LEFT_OUT`, which no definition is made of. Of catalogs shared by
//! all databases only the rows that matter to this one are counted (`condition`): what goes on in
//! other databases makes no difference. A condition looks at nothing but the row itself, so the row
//! meets it always or never.
//!
//! A catalog that the role may not read has a view in its place (`stand_in`). Views show no xmin;
//! their content is hashed, together with whatever else definitions depend on that is in no catalog.

use std::fmt::Write as _;

use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::identifier::{quote_identifier, quote_literal};

/// What the session's snapshot shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemCatalogs {
    /// Every catalog that was counted, by name.
    pub counted: Vec<CatalogRows>,
    /// Catalogs that this role may not read and that nothing stands for.
    pub hidden: Vec<String>,
    /// BLAKE3 of all that definitions depend on and that was not counted; see [`read_uncounted`].
    pub uncounted: [u8; 32],
    /// Transactions since the earlier snapshot's xmin, modulo 2^32 and signed; when one was given.
    pub age: Option<i32>,
}

/// One system catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogRows {
    /// Name in `pg_catalog`.
    pub name: String,
    /// `pg_relation_filenode()`, which reads the current catalog.
    pub filenode: u32,
    /// Rows that the snapshot shows.
    pub rows: u64,
    /// Those of them that may have been written by a transaction that the earlier snapshot did not
    /// see the end of; 0 without an earlier snapshot.
    pub newer: u64,
}

/// Catalogs that neither pg_dump --schema-only nor the inventory reads rows of.
const LEFT_OUT: [(&str, &str); 7] = [
    ("pg_statistic", "figures of ANALYZE"),
    ("pg_statistic_ext_data", "figures of ANALYZE"),
    ("pg_largeobject", "contents of large objects, which are rows"),
    ("pg_parameter_acl", "privileges on parameters, which belong to the cluster"),
    ("pg_replication_origin", "progress of subscriptions"),
    ("pg_subscription_rel", "progress of subscriptions"),
    // Names are wanted for remarks on subscriptions alone: `SUBSCRIPTIONS`.
    ("pg_subscription", "subscriptions, which are not carried"),
];

/// OID of the session's database, as a scalar subquery.
const THIS_DATABASE: &str =
    "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())";

/// What the inventory calls subscriptions that a comment or label is on.
const SUBSCRIPTIONS: &str = "SELECT pg_catalog.string_agg(remark.objoid || ' ' || object.identity, E'\\n'
            ORDER BY remark.objoid, object.identity COLLATE pg_catalog.\"C\")
       FROM (SELECT classoid, objoid, objsubid FROM pg_catalog.pg_description
              UNION SELECT classoid, objoid, objsubid FROM pg_catalog.pg_seclabel) remark
      CROSS JOIN LATERAL pg_catalog.pg_identify_object(remark.classoid, remark.objoid, remark.objsubid) object
      WHERE remark.classoid = 'pg_catalog.pg_subscription'::pg_catalog.regclass";

/// What a session of this role begins with: constants in definitions are written as `TimeZone`,
/// `bytea_output` or `lc_monetary` say, names as `quote_all_identifiers` does. Settings that no session
/// can have of its own are left out: some services change those all the time.
const SETTINGS: &str =
    "SELECT pg_catalog.string_agg(pg_catalog.concat_ws('=', s.name, pg_catalog.quote_nullable(s.reset_val)), E'\\n'
            ORDER BY s.name COLLATE pg_catalog.\"C\")
       FROM pg_catalog.pg_settings s
      WHERE s.context IN ('user', 'superuser', 'backend', 'superuser-backend') AND s.name <> 'application_name'";

/// Kinds of token of the parsers that are not the server's own: their libraries say, not a catalog.
const TOKENS: &str =
    "SELECT pg_catalog.string_agg(pg_catalog.format('%s %s %s', p.oid, token.tokid, token.alias), E'\\n'
            ORDER BY p.oid, token.tokid)
       FROM pg_catalog.pg_ts_parser p
      CROSS JOIN LATERAL pg_catalog.ts_token_type(p.oid) token
      WHERE p.oid >= 16384";

/// State of indexes. Servers of version 13 before its last updates change it in place, in CREATE INDEX
/// and DROP INDEX CONCURRENTLY.
const INDEX_STATES: &str =
    "SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', x.indexrelid, x.indisvalid,
            x.indisready, x.indislive, x.indisclustered, x.indisreplident), E'\\n' ORDER BY x.indexrelid)
       FROM pg_catalog.pg_index x";

/// Reads the catalogs in the session's snapshot. `since` is the xmin of an earlier snapshot of the
/// same history. `search_path` must be empty and the other settings pinned.
///
/// # Errors
/// The server's.
pub fn read(connection: &mut Connection, since: Option<u64>) -> Result<SystemCatalogs, QueryError> {
    let listed = list(connection)?;
    let (age, counted) = count(connection, &listed, since)?;
    let hidden = listed.iter().filter(|catalog| !catalog.readable && stand_in(&catalog.name).is_none());
    let hidden = hidden.map(|catalog| catalog.name.clone()).collect();
    Ok(SystemCatalogs { counted, hidden, uncounted: hash_uncounted(connection, &listed)?, age })
}

/// Reads anew what [`SystemCatalogs::uncounted`] is the hash of: the views in the place of catalogs
/// that this role may not read, the settings a session begins with, the kinds of token of
/// extensions' parsers, the names of subscriptions with remarks, and what a server changes in place.
///
/// # Errors
/// The server's.
pub fn read_uncounted(connection: &mut Connection) -> Result<[u8; 32], QueryError> {
    let listed = list(connection)?;
    hash_uncounted(connection, &listed)
}

struct Listed {
    name: String,
    filenode: u32,
    readable: bool,
}

fn list(connection: &mut Connection) -> Result<Vec<Listed>, QueryError> {
    let left_out: Vec<String> = LEFT_OUT.iter().map(|(name, _)| quote_literal(name)).collect();
    // Catalogs of extensions have larger OIDs: no definition is made of their rows.
    let rows = connection.query(&format!(
        "SELECT c.relname, pg_catalog.pg_relation_filenode(c.oid), \
                pg_catalog.has_table_privilege(c.oid, 'SELECT') \
           FROM pg_catalog.pg_class c \
          WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND c.relkind = 'r' AND c.oid < 16384 \
            AND c.relname NOT IN ({}) \
          ORDER BY c.relname::text COLLATE pg_catalog.\"C\"",
        left_out.join(", ")
    ))?;
    rows.iter()
        .map(|row| Ok(Listed { name: row.get(0)?, filenode: row.get(1)?, readable: row.get(2)? }))
        .collect()
}

fn count(
    connection: &mut Connection,
    listed: &[Listed],
    since: Option<u64>,
) -> Result<(Option<i32>, Vec<CatalogRows>), QueryError> {
    let readable: Vec<&Listed> = listed.iter().filter(|catalog| catalog.readable).collect();
    let rows = connection.query(&count_query(&readable, since))?;
    let mut age = None;
    let mut counted = Vec::with_capacity(readable.len());
    for row in rows.iter() {
        age = row.get(3)?;
        let place: usize = row.get::<u32>(0)?.try_into().unwrap_or(usize::MAX);
        let catalog = readable
            .get(place)
            .ok_or_else(|| QueryError::Shape(format!("no catalog was asked for at place {place}")))?;
        counted.push(CatalogRows {
            name: catalog.name.clone(),
            filenode: catalog.filenode,
            rows: row.get(1)?,
            newer: row.get(2)?,
        });
    }
    if counted.len() != readable.len() {
        return Err(QueryError::Shape(format!("{} of {} catalogs answered", counted.len(), readable.len())));
    }
    Ok((age, counted))
}

/// A row is newer when its age is from 0 to that of the earlier xmin. A negative age is one of 2^31
/// transactions and more: `age` counts from a transaction id that was handed out after the snapshot
/// was taken, so no visible row is from the future.
fn count_query(readable: &[&Listed], since: Option<u64>) -> String {
    let mut query = match since {
        Some(xmin) => format!(
            "WITH earlier AS MATERIALIZED (SELECT pg_catalog.age('{}'::pg_catalog.xid) AS age) ",
            xmin % (1 << 32)
        ),
        None => String::from("WITH earlier AS MATERIALIZED (SELECT NULL::integer AS age) "),
    };
    for (place, catalog) in readable.iter().enumerate() {
        let union = if place == 0 { "" } else { " UNION ALL " };
        let newer = match since {
            Some(_) => {
                "pg_catalog.count(*) FILTER (WHERE pg_catalog.age(x.xmin) \
                 BETWEEN 0 AND (SELECT earlier.age FROM earlier))"
            }
            None => "0",
        };
        // Writing to a String cannot fail.
        let _ = write!(
            query,
            "{union}SELECT {place}, pg_catalog.count(*), {newer}, (SELECT earlier.age FROM earlier) \
             FROM pg_catalog.{} x WHERE {}",
            quote_identifier(&catalog.name),
            condition(&catalog.name).unwrap_or_else(|| String::from("true")),
        );
    }
    query
}

/// Which rows of a catalog that is shared by all databases matter to this one. Roles and
/// tablespaces, and who is a member of what, matter as a whole.
fn condition(catalog: &str) -> Option<String> {
    let condition = match catalog {
        "pg_database" => format!("x.oid = {THIS_DATABASE}"),
        // What is said of databases; of roles and tablespaces it is not carried.
        "pg_shdescription" | "pg_shseclabel" => format!(
            "(x.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND x.objoid = {THIS_DATABASE})"
        ),
        "pg_db_role_setting" => format!("(x.setdatabase = 0 OR x.setdatabase = {THIS_DATABASE})"),
        // Roles that this database or something in it depends on.
        "pg_shdepend" => format!(
            "(x.dbid = {THIS_DATABASE} OR \
             (x.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND x.objid = {THIS_DATABASE}))"
        ),
        _ => return None,
    };
    Some(condition)
}

/// The query whose one value holds all that definitions take from a catalog which this role may not
/// read. pg_dump and the inventory read the same views.
fn stand_in(catalog: &str) -> Option<&'static str> {
    match catalog {
        "pg_authid" => {
            Some("SELECT pg_catalog.string_agg(r::text, E'\\n' ORDER BY r.oid) FROM pg_catalog.pg_roles r")
        }
        "pg_user_mapping" => Some(
            "SELECT pg_catalog.string_agg(m::text, E'\\n' ORDER BY m.umid) FROM pg_catalog.pg_user_mappings m",
        ),
        _ => None,
    }
}

/// Only the hash leaves: options of user mappings and settings can hold secrets.
fn hash_uncounted(connection: &mut Connection, listed: &[Listed]) -> Result<[u8; 32], QueryError> {
    let mut parts = vec![("settings", SETTINGS), ("tokens", TOKENS), ("subscriptions", SUBSCRIPTIONS)];
    if connection.server_version_num() < 140_000 {
        parts.push(("indexes", INDEX_STATES));
    }
    let unreadable = listed.iter().filter(|catalog| !catalog.readable);
    parts.extend(unreadable.filter_map(|catalog| Some((catalog.name.as_str(), stand_in(&catalog.name)?))));
    let selects: Vec<String> =
        parts.iter().map(|(name, query)| format!("SELECT {}, ({query})", quote_literal(name))).collect();
    let mut hasher = blake3::Hasher::new();
    for row in connection.query(&selects.join(" UNION ALL "))?.iter() {
        for part in [row.get::<&str>(0)?, row.get::<Option<&str>>(1)?.unwrap_or_default()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
    }
    Ok(hasher.finalize().into())
}
