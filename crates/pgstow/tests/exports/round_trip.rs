//! Every format of a backup of everything, restored by stock programs into a database equal to the source.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tools::{
    DEFAULTS_GONE, VERSIONS, export, pg_restore, pg_restore_prints, psql, psql_command, streamed, unpacked,
};
use crate::support::fixture::{EVERYTHING, for_major};
use crate::support::oracle::{self, State};
use crate::support::psql::Database;
use crate::support::servers::{self, Server};
use crate::support::workspace::Workspace;

struct Source {
    server: Arc<Server>,
    state: State,
    workspace: Workspace,
    backup: String,
}

impl Source {
    fn new(major: u32) -> Self {
        let server = servers::shared(major);
        let database = server.database("source");
        database.run(&for_major(EVERYTHING, major));
        let state = oracle::state(&database);
        let workspace = Workspace::with_source(&database);
        let backup = workspace.backup(&["--jobs", "3"]);
        Self { server, state, workspace, backup }
    }

    fn export(&self, name: &str, options: &[&str]) -> PathBuf {
        export(&self.workspace, &self.backup, name, options)
    }

    /// A new database, filled by `restore`, equals the source.
    #[track_caller]
    fn comes_back(&self, restore: impl FnOnce(&Database)) {
        let target = self.server.database("target");
        restore(&target);
        oracle::assert_same(&self.state, &self.looked_at(&target));
        target.drop_database();
    }

    /// Of 13 and 14, pg_dump 15 loses that CREATE on schema public was revoked.
    fn looked_at(&self, target: &Database) -> State {
        let mut state = oracle::state(target);
        if self.server.major < 15 {
            let heading = "-- Name: SCHEMA public; Type: ACL; Schema: -; Owner: postgres";
            let before = self.state.definitions.get(heading).cloned();
            state.definitions.insert(heading.to_owned(), before.expect("the fixture changes it"));
        }
        state
    }
}

/// A backup in every format but CSV.
struct Exports {
    source: Source,
    custom: PathBuf,
    directory: PathBuf,
    tar: PathBuf,
    script: PathBuf,
}

impl Exports {
    fn of(source: Source) -> Self {
        let custom = source.export("all.dump", &[]);
        let directory = source.export("all.dir", &[]);
        let tar = source.export("all.tar", &[]);
        let script = source.export("all.sql", &[]);
        let packed = unpacked(&source.export("all.sql.gz", &[]));
        let read = |path: &Path| std::fs::read(path).expect("a file");
        assert_eq!(read(&script), read(&packed));
        Self { source, custom, directory, tar, script }
    }

    /// pg_restore of a version brings back all of every archive.
    fn archives_come_back(&self, client: &str) {
        for (archive, option) in [(&self.custom, "-j4"), (&self.directory, "-j4"), (&self.tar, "-1")] {
            self.source.comes_back(|target| drop(pg_restore(client, archive, target, &[option])));
        }
    }

    /// psql of a version brings back all of the script.
    fn script_comes_back(&self, client: &str) {
        self.source.comes_back(|target| drop(psql(client, &self.script, target, &["-1"])));
    }

    /// The entries of the archive as pg_restore of a version lists them.
    fn listing(&self, client: &str) -> Vec<String> {
        let list = pg_restore_prints(client, &self.custom, &["--list"]);
        list.lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect()
    }

    /// What a version lists it can choose from.
    fn chosen_entries_come_back(&self, client: &str) {
        let list = self.source.workspace.path().join("list");
        std::fs::write(&list, self.listing(client).join("\n")).expect("a file");
        let list = list.to_str().expect("a path in UTF-8");
        self.source.comes_back(|target| drop(pg_restore(client, &self.custom, target, &["-L", list])));
    }

    /// One table of the archive, definition and rows.
    fn a_table_comes_back(&self, client: &str) {
        let target = self.source.server.database("target");
        target.run("CREATE SCHEMA shop");
        pg_restore(client, &self.custom, &target, &["-n", "shop", "-t", "with_holes"]);
        let state = oracle::state(&target);
        let before = self.source.state.contents.iter().filter(|line| line.contains("shop.with_holes"));
        assert_eq!(before.collect::<Vec<_>>(), state.contents.iter().collect::<Vec<_>>());
        target.drop_database();
    }
}

/// The tools of the server's own version restore, and the script goes through the newest psql too.
fn own_tools_restore_every_format(major: u32) {
    let exports = Exports::of(Source::new(major));
    let own = format!("client-{major}");
    exports.archives_come_back(&own);
    exports.chosen_entries_come_back(&own);
    exports.script_comes_back(&own);
    exports.script_comes_back("client-18");
}

#[test]
fn every_format_comes_back_on_13() {
    own_tools_restore_every_format(13);
}

#[test]
fn every_format_comes_back_on_15() {
    own_tools_restore_every_format(15);
}

#[test]
fn every_format_comes_back_on_17() {
    own_tools_restore_every_format(17);
}

/// Old and new tools alike: a file for one version is a file for all.
#[test]
fn every_format_comes_back_on_18_with_tools_of_every_version() {
    let exports = Exports::of(Source::new(18));
    let all = exports.listing("client-18");
    for kind in
        ["TABLE DATA", "SEQUENCE SET", "BLOBS", "MATERIALIZED VIEW DATA", "ACL", "EVENT TRIGGER", "POLICY"]
    {
        assert!(all.iter().any(|line| line.contains(kind)), "{kind} is not listed");
    }
    for client in VERSIONS {
        assert_eq!(all, exports.listing(client), "{client}");
        exports.archives_come_back(client);
        exports.a_table_comes_back(client);
    }
    // psql 13 takes functions with bodies of standard SQL apart at their semicolons.
    for client in &VERSIONS[1..] {
        exports.script_comes_back(client);
    }
    let target = exports.source.server.database("target");
    let refused = psql_command("client-13", &exports.script, &target).output().expect("psql starts");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("syntax error at end of input"), "{said}");
}

#[test]
fn a_filled_target_is_replaced() {
    let source = Source::new(15);
    let script = source.export("clean.sql", &["--clean"]);
    let custom = source.export("clean.dump", &["--compress", "none"]);
    let target = source.server.database("target");
    // Into an empty one it does no harm.
    psql("client", &script, &target, &[]);
    oracle::assert_same(&source.state, &oracle::state(&target));
    target.run(
        "INSERT INTO shop.no_columns DEFAULT VALUES; DROP TABLE shop.attachment; SELECT lo_unlink(20002)",
    );
    target.run(DEFAULTS_GONE);
    psql("client", &script, &target, &[]);
    oracle::assert_same(&source.state, &oracle::state(&target));
    target.run("INSERT INTO shop.no_columns DEFAULT VALUES");
    target.run(DEFAULTS_GONE);
    pg_restore("client", &custom, &target, &["--clean", "--if-exists"]);
    oracle::assert_same(&source.state, &oracle::state(&target));
}

#[test]
fn definitions_and_rows_apart_come_back_together() {
    let server = servers::shared(15);
    let database = server.database("source");
    // The names are in the wrong order for foreign keys.
    database.run(
        "CREATE TABLE z (id integer PRIMARY KEY); CREATE TABLE m (id integer PRIMARY KEY REFERENCES z, self integer REFERENCES m);
         CREATE TABLE a (id serial PRIMARY KEY, m integer REFERENCES m, doubled integer GENERATED ALWAYS AS (m * 2) STORED);
         INSERT INTO z SELECT generate_series(1, 100); INSERT INTO m SELECT n, 101 - n FROM generate_series(1, 100) n;
         INSERT INTO a (m) SELECT n FROM generate_series(1, 100) n;
         CREATE MATERIALIZED VIEW v AS SELECT count(*) FROM a; SELECT lo_from_bytea(7, 'seven')",
    );
    let state = oracle::state(&database);
    let workspace = Workspace::with_source(&database);
    let backup = workspace.backup(&[]);
    for (end, options) in [("sql", [].as_slice()), ("dump", &[])] {
        let schema = export(&workspace, &backup, &format!("schema.{end}"), &["--schema-only"]);
        let data = export(&workspace, &backup, &format!("data.{end}"), &["--data-only"]);
        let target = server.database("target");
        if end == "sql" {
            psql("client", &schema, &target, options);
            psql("client", &data, &target, options);
        } else {
            pg_restore("client", &schema, &target, options);
            pg_restore("client", &data, &target, &["-j", "4"]);
        }
        target.run("REFRESH MATERIALIZED VIEW v");
        oracle::assert_same(&state, &oracle::state(&target));
    }
    // A whole archive can be taken apart too.
    let whole = export(&workspace, &backup, "whole.dump", &[]);
    let target = server.database("target");
    pg_restore("client", &whole, &target, &["-s"]);
    pg_restore("client", &whole, &target, &["-a"]);
    target.run("REFRESH MATERIALIZED VIEW v");
    oracle::assert_same(&state, &oracle::state(&target));
}

#[test]
fn a_stream_is_as_good_as_a_file() {
    let source = Source::new(15);
    let file = source.workspace.path().join("streamed");
    for (format, restore) in [("custom", 0), ("tar", 0), ("plain", 1)] {
        let arguments = ["export", &source.backup, "--output", "-", "--format", format];
        std::fs::write(&file, streamed(&source.workspace, &arguments)).unwrap();
        source.comes_back(|target| {
            drop(match restore {
                0 => pg_restore("client", &file, target, &[]),
                _ => psql("client", &file, target, &[]),
            });
        });
    }
}
