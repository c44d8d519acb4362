//! A stand-in of a hosted project: a stock server whose bootstrap superuser is the platform's, a
//! restricted `postgres`, and all that a platform puts into a new project.
//!
//! Each project has a server of its own, since roles and their privileges belong to a server. A
//! module of the platform opens a gate for `postgres` on hosted servers (event triggers, policies
//! on tables of others). There is none here: what goes through it at the source is made by the
//! superuser, and at a target it is one of the things that are not allowed.

use std::path::{Path, PathBuf};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::error::QueryError;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::{Connection, ConnectionSettings};

/// The platform's own superuser.
pub(crate) const SUPERUSER: &str = "supabase_admin";
/// The role that a customer has.
pub(crate) const CUSTOMER: &str = "postgres";
/// The database of every project.
pub(crate) const DATABASE: &str = "postgres";

/// What a new object in `public` is open to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Everything to the roles of the API.
    Old,
    /// Nothing.
    New,
}

/// Whether `postgres` is a member of the roles that own `auth` and `storage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// It is.
    Member,
    /// It is not.
    Apart,
}

/// Both profiles in both eras.
pub(crate) const KINDS: [(Profile, Era); 4] = [
    (Profile::Old, Era::Member),
    (Profile::Old, Era::Apart),
    (Profile::New, Era::Member),
    (Profile::New, Era::Apart),
];

/// The major version that the stand-ins of most tests run.
pub(crate) const MAJOR: u32 = 15;

/// A project on a server of its own.
pub(crate) struct Project {
    pub(crate) server: DisposableServer,
}

impl Project {
    /// A new project, as a customer gets it.
    pub(crate) fn new(profile: Profile, era: Era) -> Self {
        Self::on(MAJOR, profile, era)
    }

    /// A new project on a server of that version.
    pub(crate) fn on(major: u32, profile: Profile, era: Era) -> Self {
        let project = Self { server: server(&format!("supabase-{major}"), SUPERUSER) };
        let platform = [
            ("roles", include_str!("stand_in/roles.sql")),
            ("schemas", include_str!("stand_in/schemas.sql")),
            match profile {
                Profile::Old => ("old profile", include_str!("stand_in/profile_old.sql")),
                Profile::New => ("new profile", include_str!("stand_in/profile_new.sql")),
            },
            ("auth", include_str!("stand_in/auth.sql")),
            ("storage", include_str!("stand_in/storage.sql")),
            ("platform", include_str!("stand_in/platform.sql")),
            match era {
                Era::Member => ("members", include_str!("stand_in/era_member.sql")),
                Era::Apart => ("apart", include_str!("stand_in/era_apart.sql")),
            },
        ];
        for (part, sql) in platform {
            project.run(part, SUPERUSER, sql);
        }
        project
    }

    /// A project that a customer has filled.
    pub(crate) fn in_use(profile: Profile, era: Era) -> Self {
        Self::new(profile, era).filled()
    }

    /// The project with all that a customer makes in it.
    pub(crate) fn filled(self) -> Self {
        self.run("objects", CUSTOMER, include_str!("stand_in/user.sql"));
        self.run("elevated objects", SUPERUSER, include_str!("stand_in/user_elevated.sql"));
        self.run("rows", CUSTOMER, include_str!("stand_in/rows.sql"));
        self
    }

    /// How to reach the project as the restricted `postgres`.
    pub(crate) fn settings(&self) -> ConnectionSettings {
        self.settings_as(CUSTOMER)
    }

    /// How to reach the project as a role.
    pub(crate) fn settings_as(&self, role: &str) -> ConnectionSettings {
        ConnectionSettings { user: role.to_owned(), ..self.server.settings(DATABASE) }
    }

    pub(crate) fn connect_as(&self, role: &str) -> Connection {
        Connection::open(&self.settings_as(role), &Interrupt::new()).expect("a connection")
    }

    pub(crate) fn execute_as(&self, role: &str, sql: &str) {
        self.run("a statement", role, sql);
    }

    /// The only value of a query, as the superuser.
    pub(crate) fn value(&self, sql: &str) -> String {
        let rows = self.connect_as(SUPERUSER).query(sql).expect("the query runs");
        rows.only().expect("one row").get::<Option<String>>(0).expect("a value").unwrap_or_default()
    }

    /// What the server says to a statement: nothing when it runs. Nothing of it stays.
    pub(crate) fn refusal(&self, role: &str, sql: &str) -> Option<QueryError> {
        let mut connection = self.connect_as(role);
        connection.execute("BEGIN").expect("a transaction");
        let refused = connection.execute(sql).err();
        connection.execute("ROLLBACK").expect("a rollback");
        refused
    }

    fn run(&self, part: &str, role: &str, sql: &str) {
        if let Err(error) = self.connect_as(role).execute(sql) {
            panic!("{part} as {role}: {error:?}");
        }
    }
}

/// A plain server: no platform, superuser `postgres`, none of the platform's extensions at hand.
pub(crate) fn plain_server(major: u32) -> DisposableServer {
    server(&major.to_string(), "postgres")
}

/// A server with a hosted server's settings.
fn server(programs_of: &str, superuser: &str) -> DisposableServer {
    let options = ServerOptions {
        binaries: Some(programs(programs_of)),
        superuser: superuser.to_owned(),
        configuration: vec![
            "wal_level = logical".into(),
            "max_connections = 60".into(),
            "shared_buffers = 32MB".into(),
            "statement_timeout = '2min'".into(),
        ],
        ..ServerOptions::default()
    };
    DisposableServer::start(&options)
        .unwrap_or_else(|error| panic!("{programs_of}: {error}: {:?}", error.reason()))
}

/// Folder of the programs that `scripts/set-up-tests` links under `.test/servers`.
pub(crate) fn programs(name: &str) -> PathBuf {
    let link = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test/servers").join(name);
    match link.canonicalize() {
        Ok(folder) => folder.join("bin"),
        Err(error) => panic!("{}: {error}; run scripts/set-up-tests", link.display()),
    }
}

/// The programs of a client that can read a server of that version.
pub(crate) fn client_programs(major: u32) -> PathBuf {
    programs(if major <= 15 { "client" } else { "client-18" })
}
