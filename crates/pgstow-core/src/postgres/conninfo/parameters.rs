//! The parameters of connection strings: which are known, and what becomes of each.

use std::collections::BTreeMap;

use super::usage;
use crate::error::Result;

/// What becomes of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It is acted upon.
    Used,
    /// libpq's, without consequence here.
    Harmless,
    /// libpq's; ignoring it would change what the user relies on.
    Refused(&'static str),
    /// Another program's; ignored with a note.
    Foreign,
}

const NO_KEY_PASSWORD: &str = "encrypted private keys are not supported: `openssl pkey -in encrypted.key -out plain.key` writes a plain one, \
     for sslkey";
const NO_REVOCATION: &str = "revocation lists are not supported: leave it out to connect without";
const NO_RESTRICTION: &str = "this restriction is not supported: leave it out to connect without";

/// All known parameters; sorted as libpq's manual lists them.
const KNOWN: &[(&str, Treatment)] = &[
    ("host", Treatment::Used),
    ("hostaddr", Treatment::Used),
    ("port", Treatment::Used),
    ("dbname", Treatment::Used),
    ("user", Treatment::Used),
    ("password", Treatment::Used),
    ("passfile", Treatment::Used),
    ("channel_binding", Treatment::Used),
    ("connect_timeout", Treatment::Used),
    ("options", Treatment::Used),
    ("application_name", Treatment::Used),
    ("fallback_application_name", Treatment::Used),
    ("gssencmode", Treatment::Used),
    ("sslmode", Treatment::Used),
    ("sslnegotiation", Treatment::Used),
    ("sslrootcert", Treatment::Used),
    ("target_session_attrs", Treatment::Used),
    ("schema", Treatment::Used),
    ("ssl", Treatment::Used),
    ("client_encoding", Treatment::Harmless),
    ("keepalives", Treatment::Used),
    ("keepalives_idle", Treatment::Used),
    ("keepalives_interval", Treatment::Used),
    ("keepalives_count", Treatment::Used),
    ("tcp_user_timeout", Treatment::Used),
    ("sslcompression", Treatment::Harmless),
    ("sslsni", Treatment::Used),
    ("sslcertmode", Treatment::Used),
    ("krbsrvname", Treatment::Harmless),
    ("gsslib", Treatment::Harmless),
    ("gssdelegation", Treatment::Harmless),
    ("load_balance_hosts", Treatment::Harmless),
    ("min_protocol_version", Treatment::Harmless),
    ("max_protocol_version", Treatment::Harmless),
    ("sslcert", Treatment::Used),
    ("sslkey", Treatment::Used),
    ("sslpassword", Treatment::Refused(NO_KEY_PASSWORD)),
    ("sslcrl", Treatment::Refused(NO_REVOCATION)),
    ("sslcrldir", Treatment::Refused(NO_REVOCATION)),
    ("requirepeer", Treatment::Refused(NO_RESTRICTION)),
    ("require_auth", Treatment::Refused(NO_RESTRICTION)),
    ("ssl_min_protocol_version", Treatment::Refused(NO_RESTRICTION)),
    ("ssl_max_protocol_version", Treatment::Refused(NO_RESTRICTION)),
    ("replication", Treatment::Refused("backups need an ordinary session: leave it out")),
    ("service", Treatment::Used),
    ("servicefile", Treatment::Used),
    ("connection_limit", Treatment::Foreign),
    ("pgbouncer", Treatment::Foreign),
    ("pool_timeout", Treatment::Foreign),
    ("socket_timeout", Treatment::Foreign),
    ("statement_cache_size", Treatment::Foreign),
    ("sslaccept", Treatment::Foreign),
    ("sslidentity", Treatment::Foreign),
    ("supa", Treatment::Foreign),
    ("workaround", Treatment::Foreign),
    ("pool_size", Treatment::Foreign),
    ("pool_mode", Treatment::Foreign),
    ("prepared_statements", Treatment::Foreign),
    ("uselibpqcompat", Treatment::Foreign),
];

/// PG* variables that stand in for a parameter.
pub(super) const VARIABLES: &[(&str, &str)] = &[
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("options", "PGOPTIONS"),
    ("application_name", "PGAPPNAME"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslcertmode", "PGSSLCERTMODE"),
    ("sslsni", "PGSSLSNI"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("gssencmode", "PGGSSENCMODE"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
];

/// PG* variables that libpq would act upon and pgstow does not.
pub(super) const UNSUPPORTED_VARIABLES: &[&str] = &[
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGREQUIREPEER",
    "PGREQUIREAUTH",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMAXPROTOCOLVERSION",
];

/// What is known of `name`.
pub(super) fn treatment(name: &str) -> Option<Treatment> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, treatment)| *treatment)
}

/// Whether `name` has the form of a parameter's name, so that it may be shown.
pub(super) fn is_word(name: &str) -> bool {
    !name.is_empty() && name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The known parameter that `name` is most likely a slip of.
pub(super) fn suggestion(name: &str) -> Option<&'static str> {
    let names =
        KNOWN.iter().filter(|(_, treatment)| *treatment != Treatment::Foreign).map(|(known, _)| *known);
    let (distance, nearest) = names.map(|known| (distance(name, known), known)).min()?;
    (distance <= 2 && distance < nearest.len().min(name.len())).then_some(nearest)
}

/// Number of characters to insert, remove or replace on the way from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, character) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

/// What a connection string says.
#[derive(Default)]
pub(super) struct Parameters {
    values: BTreeMap<&'static str, String>,
    /// Names of other programs' parameters, in the order given.
    pub(super) foreign: Vec<String>,
    /// Names that nobody knows, in the order given.
    pub(super) unknown: Vec<String>,
}

impl Parameters {
    /// The value given for a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Takes a parameter unless it is given already. `false` when the name is unknown.
    ///
    /// # Errors
    /// As [`Parameters::set`].
    pub(super) fn fill(&mut self, name: &str, value: String) -> Result<bool> {
        if self.values.contains_key(name) { Ok(true) } else { self.set(name, value) }
    }

    /// Takes a parameter; the last one of a name counts. `false` when the name is unknown.
    ///
    /// # Errors
    /// For a parameter that must not be ignored and cannot be obeyed.
    pub(super) fn set(&mut self, name: &str, value: String) -> Result<bool> {
        let Some((known, treatment)) = KNOWN.iter().find(|(known, _)| *known == name) else {
            return Ok(false);
        };
        match treatment {
            Treatment::Used => {
                self.values.insert(known, value);
            }
            Treatment::Harmless => {}
            Treatment::Refused(_) if value.is_empty() => {}
            Treatment::Refused(remedy) => {
                return Err(usage(format!("the connection parameter {known} cannot be used")).why(*remedy));
            }
            Treatment::Foreign => self.foreign.push((*known).to_owned()),
        }
        Ok(true)
    }
}
