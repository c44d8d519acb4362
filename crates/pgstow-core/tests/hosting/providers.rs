//! Providers that run plain PostgreSQL with a superuser of their own: they are recognised on a server that has
//! their roles, and the login that their customers get backs up and restores all that is its own.

use std::process::Command;

use pgstow_core::backup::{self, BackupOptions};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::platform::Platform;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::{Connection, ConnectionSettings};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::format::receipt::Outcome;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::restore::{self, RestoreOptions};

use crate::ground::programs;

/// A provider's superuser, the role whose rights its customers get, and what `check` calls it.
struct Provider {
    platform: Platform,
    superuser: &'static str,
    group: &'static str,
    called: &'static str,
}

const PROVIDERS: [Provider; 3] = [
    Provider { platform: Platform::Neon, superuser: "cloud_admin", group: "neon_superuser", called: "Neon" },
    Provider { platform: Platform::Rds, superuser: "rdsadmin", group: "rds_superuser", called: "Amazon RDS" },
    Provider {
        platform: Platform::CloudSql,
        superuser: "cloudsqladmin",
        group: "cloudsqlsuperuser",
        called: "Google Cloud SQL",
    },
];
const CUSTOMER: &str = "customer";
const DATABASE: &str = "shop";

struct Server {
    server: DisposableServer,
    superuser: &'static str,
}

impl Server {
    /// As the provider makes it, and empty.
    fn of(provider: &Provider, major: u32) -> Self {
        let options = ServerOptions {
            binaries: Some(programs(&major.to_string())),
            superuser: provider.superuser.to_owned(),
            configuration: vec!["wal_level = logical".into()],
            ..ServerOptions::default()
        };
        let server = Self {
            server: DisposableServer::start(&options).expect("a server"),
            superuser: provider.superuser,
        };
        let Provider { group, .. } = provider;
        server.execute(
            "postgres",
            server.superuser,
            &format!(
                "CREATE ROLE {group} NOLOGIN CREATEDB CREATEROLE; GRANT pg_monitor TO {group};
             CREATE ROLE {CUSTOMER} LOGIN CREATEDB CREATEROLE IN ROLE {group}"
            ),
        );
        server.execute("postgres", server.superuser, &format!("CREATE DATABASE {DATABASE} OWNER {CUSTOMER}"));
        server.execute(DATABASE, server.superuser, "CREATE PUBLICATION provider_changes FOR ALL TABLES");
        server
    }

    fn settings(&self, database: &str, role: &str) -> ConnectionSettings {
        ConnectionSettings { user: role.to_owned(), ..self.server.settings(database) }
    }

    fn connect(&self, database: &str, role: &str) -> Connection {
        Connection::open(&self.settings(database, role), &Interrupt::new()).expect("a session")
    }

    fn execute(&self, database: &str, role: &str, sql: &str) {
        if let Err(error) = self.connect(database, role).execute(sql) {
            panic!("{role}: {sql}: {error:?}");
        }
    }

    /// What stock pg_dump says of the database.
    fn dump(&self) -> String {
        let output = Command::new(programs("client-18").join("pg_dump"))
            .args(["--restrict-key=same", "--dbname", DATABASE])
            .args(["--username", self.superuser])
            .arg("--host")
            .arg(self.server.socket_directory())
            .args(["--port", &self.server.socket_port().to_string()])
            .output()
            .expect("pg_dump");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

const CUSTOMERS_OWN: &str = r#"
CREATE ROLE reader;
CREATE SCHEMA "Sales Dept";
CREATE EXTENSION citext;
CREATE TABLE "Sales Dept"."Customer" (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email citext UNIQUE NOT NULL);
CREATE TABLE public.orders (id bigserial PRIMARY KEY, who integer NOT NULL REFERENCES "Sales Dept"."Customer",
    total numeric CHECK (total > 0));
ALTER TABLE public.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.orders TO reader USING (who = 1);
CREATE VIEW public.large WITH (security_invoker = on) AS SELECT * FROM public.orders WHERE total > 50;
CREATE MATERIALIZED VIEW public.totals AS SELECT who, sum(total) AS total FROM public.orders GROUP BY who;
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touch BEFORE UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.touch();
GRANT USAGE ON SCHEMA "Sales Dept" TO reader;
GRANT SELECT (id) ON "Sales Dept"."Customer" TO reader;
GRANT SELECT ON public.orders, public.large TO reader;
REVOKE EXECUTE ON FUNCTION public.touch() FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO reader;
CREATE PUBLICATION mine FOR TABLE public.orders (id, total) WHERE (total > 10);
INSERT INTO "Sales Dept"."Customer" (email) SELECT 'Nobody' || n || '@example.org' FROM generate_series(1, 50) n;
INSERT INTO public.orders (who, total) SELECT 1 + n % 50, n FROM generate_series(1, 500) n;
REFRESH MATERIALIZED VIEW public.totals;
"#;

fn customers_back_up_and_restore_what_is_theirs(major: u32) {
    for provider in PROVIDERS {
        let called = provider.called;
        let (source, target) = (Server::of(&provider, major), Server::of(&provider, major));
        source.execute(DATABASE, CUSTOMER, CUSTOMERS_OWN);
        let folder = tempfile::tempdir().expect("a folder");
        let store = LocalStore::new(&folder.path().join("repository"));
        let repository = Repository::open_or_init(Box::new(store), jiff::Timestamp::now()).unwrap();
        let options = BackupOptions {
            jobs: 2,
            pg_dump: Some(programs("client-18").join("pg_dump")),
            ..BackupOptions::new(EnvironmentName::new("shop").unwrap(), source.settings(DATABASE, CUSTOMER))
        };
        let report = backup::check(&options, &Interrupt::new()).unwrap();
        let platform = report.lines.iter().find(|line| line.what == "platform").expect("it is named");
        assert!(platform.found.starts_with(called), "{called}: {}", platform.found);
        let backup = backup::run(&repository, &options, &Silent, &Interrupt::new()).unwrap();
        assert!(backup.is_complete(), "{called}: {:#?}", backup.not_carried);
        let catalog = repository.catalog(&repository.manifest(&backup.header).unwrap()).unwrap();
        assert_eq!(catalog.hosting.platform, provider.platform);

        let before = target.dump();
        let into = RestoreOptions {
            create_roles: true,
            checksums: true,
            ..RestoreOptions::new(target.settings(DATABASE, CUSTOMER))
        };
        let prepared = restore::prepare(&repository, &backup.header, &into, &Interrupt::new())
            .unwrap_or_else(|error| panic!("{called}: {error:?}"));
        let report = prepared.apply(&Silent, &Interrupt::new()).unwrap();
        assert_eq!(report.receipt.outcome, Outcome::Equal, "{called}: {:#?}", report.receipt);
        assert_ne!(target.dump(), before, "{called}");
        assert_eq!(target.dump(), source.dump(), "{called}");
    }
}

#[test]
fn customers_back_up_and_restore_what_is_theirs_on_15() {
    customers_back_up_and_restore_what_is_theirs(15);
}

#[test]
fn customers_back_up_and_restore_what_is_theirs_on_18() {
    customers_back_up_and_restore_what_is_theirs(18);
}
