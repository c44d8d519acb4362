//! The checks that tell whether a restore brought back a project: what is to be equal at source and
//! target, and what a restore is not to touch. They ask the servers in SQL, as the superuser, and
//! know nothing of how a backup or a restore works.

use std::collections::BTreeMap;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::{Connection, ConnectionSettings};

/// What a check compares the target with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// The source.
    Source,
    /// The target before the restore.
    Before,
    /// Nothing: what it finds is wrong.
    Nothing,
}

/// How a check looks.
#[derive(Debug, Clone, Copy)]
enum Look {
    /// One fact a row.
    Question(&'static str),
    /// The same, where a relation exists.
    Where(&'static str, &'static str),
    /// The same, as the role of the API that nobody signs in to.
    AsAnon(&'static str),
    /// Inserts a row of defaults into each table with a sequence, and takes it back.
    Inserts(&'static str),
}

/// One check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    /// Its number in the list of what a restore has to achieve. Several may share one.
    pub(crate) number: u8,
    /// What it is about.
    pub(crate) title: &'static str,
    pub(crate) against: Against,
    look: Look,
}

const fn of_source(number: u8, title: &'static str, question: &'static str) -> Check {
    Check { number, title, against: Against::Source, look: Look::Question(question) }
}

const fn of_before(number: u8, title: &'static str, question: &'static str) -> Check {
    Check { number, title, against: Against::Before, look: Look::Question(question) }
}

/// Checks 1 to 20. The others look at what sessions and reports say: [`crate::witness`].
pub(crate) const CHECKS: [Check; 32] = [
    of_source(1, "privileges of relations", include_str!("checks/relation_privileges.sql")),
    of_source(
        2,
        "privileges of columns, functions, types and schemas",
        include_str!("checks/finer_privileges.sql"),
    ),
    of_source(3, "schema public", include_str!("checks/public_schema.sql")),
    of_before(3, "schema public stays", include_str!("checks/public_schema.sql")),
    of_source(4, "default privileges", include_str!("checks/default_privileges.sql")),
    of_before(
        4,
        "default privileges of the platform stay",
        include_str!("checks/platform_default_privileges.sql"),
    ),
    of_source(5, "publications", include_str!("checks/publications.sql")),
    of_source(6, "row-level security", include_str!("checks/row_security.sql")),
    of_before(6, "what turns row-level security on stays", include_str!("checks/row_security_guard.sql")),
    of_source(7, "policies", include_str!("checks/policies.sql")),
    of_source(8, "views", include_str!("checks/view_options.sql")),
    Check {
        number: 8,
        title: "what views show to anon",
        against: Against::Source,
        look: Look::AsAnon(include_str!("checks/view_rows.sql")),
    },
    of_source(9, "triggers", include_str!("checks/triggers.sql")),
    Check {
        number: 10,
        title: "accounts",
        against: Against::Source,
        look: Look::Where("auth.users", include_str!("checks/accounts.sql")),
    },
    of_source(10, "rows of tables", include_str!("checks/table_rows.sql")),
    of_before(10, "sign-ins under way and levels stay", include_str!("checks/sign_ins.sql")),
    of_source(11, "foreign keys", include_str!("checks/foreign_keys.sql")),
    of_source(12, "sequences", include_str!("checks/sequences.sql")),
    Check {
        number: 12,
        title: "the next insert",
        against: Against::Source,
        look: Look::Inserts(include_str!("checks/tables_with_a_sequence.sql")),
    },
    of_source(13, "extensions", include_str!("checks/extensions.sql")),
    of_source(14, "functions", include_str!("checks/functions.sql")),
    of_source(15, "event triggers", include_str!("checks/event_triggers.sql")),
    of_before(15, "event triggers of the platform stay", include_str!("checks/platform_event_triggers.sql")),
    Check {
        number: 16,
        title: "secrets",
        against: Against::Source,
        look: Look::Where("vault.decrypted_secrets", include_str!("checks/secrets.sql")),
    },
    Check {
        number: 16,
        title: "jobs",
        against: Against::Source,
        look: Look::Where("cron.job", include_str!("checks/jobs.sql")),
    },
    Check {
        number: 16,
        title: "jobs are inactive",
        against: Against::Nothing,
        look: Look::Where("cron.job", include_str!("checks/active_jobs.sql")),
    },
    Check {
        number: 17,
        title: "buckets and the list of files",
        against: Against::Source,
        look: Look::Where("storage.objects", include_str!("checks/buckets.sql")),
    },
    of_source(18, "definitions and comments", include_str!("checks/definitions.sql")),
    of_source(19, "materialized views and large objects", include_str!("checks/contents.sql")),
    of_source(20, "roles", include_str!("checks/roles.sql")),
    of_source(20, "owners", include_str!("checks/owners.sql")),
    of_source(
        20,
        "schemas",
        "SELECT format('schema %I', nspname) FROM pg_namespace n WHERE pg_temp.is_mine(nspname)",
    ),
];

const VOCABULARY: &str = include_str!("checks/vocabulary.sql");

/// A session of the superuser that answers the checks. All of it happens in one transaction that
/// is rolled back.
pub(crate) struct Examiner {
    connection: Connection,
}

impl Examiner {
    pub(crate) fn new(settings: &ConnectionSettings) -> Self {
        let mut connection = Connection::open(settings, &Interrupt::new()).expect("a session");
        // Event triggers are to take no notice.
        let opening = format!(
            "BEGIN; SET LOCAL session_replication_role = replica; {VOCABULARY} \
             SET LOCAL session_replication_role = origin; SET LOCAL search_path = ''; SET LOCAL extra_float_digits = 3; \
             SET LOCAL timezone = 'UTC'"
        );
        connection.execute(&opening).expect("the vocabulary");
        Self { connection }
    }

    /// Runs statements within the transaction.
    pub(crate) fn execute(&mut self, sql: &str) {
        if let Err(error) = self.connection.execute(sql) {
            panic!("{sql}: {error:?}");
        }
    }

    /// What a check finds, sorted.
    pub(crate) fn facts(&mut self, check: &Check) -> Vec<String> {
        let mut facts = match check.look {
            Look::Question(question) => self.ask(check, question),
            Look::Where(relation, question) => {
                let known = format!("SELECT pg_catalog.to_regclass('{relation}') IS NOT NULL");
                if self.ask(check, &known) == ["t"] { self.ask(check, question) } else { Vec::new() }
            }
            Look::AsAnon(_) if self.ask(check, "SELECT pg_catalog.to_regrole('anon') IS NULL") == ["t"] => {
                Vec::new()
            }
            Look::AsAnon(question) => {
                self.execute("SET LOCAL ROLE anon");
                let facts = self.ask(check, question);
                self.execute("RESET ROLE");
                facts
            }
            Look::Inserts(question) => self.insert_everywhere(check, question),
        };
        facts.sort();
        facts
    }

    fn ask(&mut self, check: &Check, question: &str) -> Vec<String> {
        let rows = match self.connection.query(question) {
            Ok(rows) => rows,
            Err(error) => panic!("check {} ({}): {error:?}", check.number, check.title),
        };
        rows.iter().map(|row| row.get::<String>(0).expect("a fact")).collect()
    }

    /// Whether a row of defaults goes into each table with a sequence. The sequences stay as they are.
    fn insert_everywhere(&mut self, check: &Check, question: &str) -> Vec<String> {
        let rows = self.connection.query(question).expect("the tables");
        let tables: Vec<(String, String)> =
            rows.iter().map(|row| (row.get(0).expect("a table"), row.get(1).expect("a sequence"))).collect();
        let mut facts = Vec::new();
        for (table, sequence) in tables {
            let position = format!("SELECT format('%s, %L', last_value, is_called) FROM {sequence}");
            let position = self.ask(check, &position).concat();
            self.execute("SAVEPOINT before; SET LOCAL session_replication_role = replica");
            let outcome = match self.connection.execute(&format!("INSERT INTO {table} DEFAULT VALUES")) {
                Ok(_) => "works".to_owned(),
                Err(error) => format!("fails: {error}"),
            };
            self.execute("ROLLBACK TO before");
            self.execute(&format!("SELECT pg_catalog.setval('{sequence}', {position})"));
            facts.push(format!("the next insert into {table} {outcome}"));
        }
        facts
    }
}

/// What all checks find in a database, check by check.
pub(crate) struct Findings(Vec<Vec<String>>);

impl Findings {
    /// Asks everything.
    pub(crate) fn of(settings: &ConnectionSettings) -> Self {
        let mut examiner = Examiner::new(settings);
        Self(CHECKS.iter().map(|check| examiner.facts(check)).collect())
    }
}

/// What is not as it should be after a restore, in words, by the check that noticed it.
pub(crate) fn differences(
    source: &Findings,
    before: &Findings,
    target: &Findings,
) -> BTreeMap<u8, Vec<String>> {
    let mut all: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for (index, check) in CHECKS.iter().enumerate() {
        let expected = match check.against {
            Against::Source => &source.0[index],
            Against::Before => &before.0[index],
            Against::Nothing => &Vec::new(),
        };
        let found = compared(check.title, expected, &target.0[index]);
        if !found.is_empty() {
            all.entry(check.number).or_default().extend(found);
        }
    }
    all
}

/// What is not as it was, in words, by the check that noticed it.
pub(crate) fn changes(before: &Findings, after: &Findings) -> BTreeMap<u8, Vec<String>> {
    let mut all: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for (index, check) in CHECKS.iter().enumerate() {
        let found = compared(check.title, &before.0[index], &after.0[index]);
        if !found.is_empty() {
            all.entry(check.number).or_default().extend(found);
        }
    }
    all
}

/// What only one of two lists has, in words.
pub(crate) fn compared(title: &str, expected: &[String], found: &[String]) -> Vec<String> {
    let mut balance: BTreeMap<&String, i64> = BTreeMap::new();
    expected.iter().for_each(|fact| *balance.entry(fact).or_default() += 1);
    found.iter().for_each(|fact| *balance.entry(fact).or_default() -= 1);
    let told = balance.into_iter().filter(|(_, count)| *count != 0);
    told.map(|(fact, count)| {
        format!("{title}: {}: {fact}", if count > 0 { "missing" } else { "not expected" })
    })
    .collect()
}
