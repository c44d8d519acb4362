//! What bad input gets: an error that names the thing and the next step, the right exit code, and
//! nothing half done.

use std::path::Path;
use std::sync::Arc;

use pgstow_core::postgres::server::ServerBinaries;

use crate::support::oracle;
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR, PASSWORD, Server};
use crate::support::workspace::Workspace;

/// A small database and a workspace that has it as `prod`.
fn small() -> (Arc<Server>, Database, Workspace) {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("small");
    source.run("CREATE TABLE orders (id integer PRIMARY KEY, body text); INSERT INTO orders SELECT n, 'body ' || n FROM generate_series(1, 1000) AS n");
    let workspace = Workspace::with_source(&source);
    (server, source, workspace)
}

/// A backup that must fail, with everything that its error has to name; nothing may be written.
#[track_caller]
fn backup_fails(workspace: &Workspace, arguments: &[&str], code: i32, naming: &[&str]) {
    let all: Vec<&str> = ["backup", "prod"].iter().chain(arguments).copied().collect();
    let outcome = workspace.run(&all).ended_with(code);
    for name in naming {
        assert!(outcome.stderr.contains(name), "{name:?} is not named\n{}", outcome.said());
    }
    assert!(outcome.stdout.is_empty(), "{}", outcome.said());
    assert!(workspace.backups().is_empty());
    let objects: Vec<_> = workspace
        .repository_files()
        .into_iter()
        .filter(|(path, _)| path.to_string_lossy().contains("/objects/"))
        .collect();
    assert_eq!(objects, [], "objects are left");
}

#[test]
fn a_host_that_does_not_answer_is_named() {
    let mut workspace = Workspace::new();
    workspace.environment("PROD", "postgresql://someone:hidden@127.0.0.1:1/shop");
    backup_fails(&workspace, &[], 1, &["127.0.0.1:1", "try"]);
    let outcome = workspace.run(&["backup", "prod"]);
    assert!(!outcome.said().contains("hidden"), "{}", outcome.said());
    workspace.environment("PROD", "postgresql://someone@no-such-host.invalid/shop");
    backup_fails(&workspace, &[], 1, &["no-such-host.invalid"]);
}

#[test]
fn a_wrong_password_names_the_role() {
    let (server, source, mut workspace) = small();
    workspace.environment("PROD", &server.url_as("postgres", "wrong-password", &source.name));
    backup_fails(&workspace, &[], 1, &["postgres", "password", "try"]);
    assert!(!workspace.run(&["backup", "prod"]).said().contains("wrong-password"));
}

#[test]
fn a_missing_database_is_named() {
    let (server, _source, mut workspace) = small();
    workspace.environment("PROD", &server.url("no such database"));
    backup_fails(&workspace, &[], 1, &["no such database"]);
}

#[test]
fn a_missing_pg_dump_is_named_with_how_to_install_it() {
    let (_server, _source, workspace) = small();
    backup_fails(&workspace, &["--pg-dump", "/no/such/folder"], 1, &["/no/such/folder", "pg_dump"]);
}

#[test]
fn a_pg_dump_older_than_the_server_is_named_with_how_to_install_one() {
    let server = servers::shared(18);
    let source = server.database("newer");
    source.run("CREATE TABLE t (n integer)");
    let mut workspace = Workspace::with_source(&source);
    // Only version 15 is in reach.
    workspace.clients_of(15);
    let folder = servers::programs("client").to_string_lossy().into_owned();
    backup_fails(&workspace, &["--pg-dump", &folder], 1, &["pg_dump", "18", "15"]);
    backup_fails(&workspace, &[], 1, &["pg_dump", "18", "install"]);
}

/// A role without rights of its own; its URL.
fn limited_role(server: &Server, source: &Database) -> String {
    let role = format!("limited_{}", source.name);
    source.run(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{}'; GRANT USAGE ON SCHEMA public TO {role}",
        PASSWORD.replace('\'', "''")
    ));
    server.url_as(&role, PASSWORD, &source.name)
}

#[test]
fn a_table_that_may_not_be_read_is_named_before_anything_is_read() {
    let (server, source, mut workspace) = small();
    source.run("CREATE SCHEMA \"Odd\"; CREATE TABLE \"Odd\".\"Secret \"\"One\"\"\" (n integer)");
    let url = limited_role(&server, &source);
    source.run(&format!("GRANT SELECT ON orders TO limited_{}", source.name));
    workspace.environment("PROD", &url);
    backup_fails(&workspace, &[], 1, &["Odd", "Secret", "GRANT"]);
    let outcome = workspace.run(&["check", "prod"]);
    assert_ne!(outcome.code(), 0, "{}", outcome.said());
    outcome.saying(&["Secret"]);
}

#[test]
fn row_level_security_in_the_way_is_named() {
    let (server, source, mut workspace) = small();
    let url = limited_role(&server, &source);
    source.run(&format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO limited_{}; ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY some_rows ON orders USING (id < 10)",
        source.name
    ));
    workspace.environment("PROD", &url);
    backup_fails(&workspace, &[], 1, &["orders", "row-level security", "BYPASSRLS"]);
}

#[test]
fn an_unknown_environment_or_backup_is_named() {
    let (_server, _source, workspace) = small();
    workspace.run(&["backup", "prdo"]).ended_with(5).saying(&["prdo", "prod"]);
    workspace.run(&["show", "latest"]).ended_with(5);
    let id = workspace.backup(&[]);
    workspace
        .run(&["show", "prod_1999-01-01T00-00-00Z"])
        .ended_with(5)
        .saying(&["prod_1999-01-01T00-00-00Z"]);
    workspace
        .run(&["restore", "prod@no-such-label", "--to", "prod"])
        .ended_with(5)
        .saying(&["no-such-label"]);
    workspace.run(&["restore", &id, "--to", "nowhere"]).ended_with(5).saying(&["nowhere"]);
}

#[test]
fn an_ambiguous_beginning_of_an_id_lists_what_it_could_be() {
    let (_server, _source, workspace) = small();
    let first = workspace.backup(&["--label", "one"]);
    let second = workspace.backup(&["--label", "two"]);
    let outcome = workspace.run(&["show", "prod_2"]);
    assert!([2, 5].contains(&outcome.code()), "{}", outcome.said());
    outcome.saying(&[&first, &second]);
    workspace.run(&["show", &first]).succeeded();
}

#[test]
fn an_unwritable_repository_is_named() {
    let (_server, _source, workspace) = small();
    std::fs::write(workspace.repository(), "a file where the repository should be").expect("a file");
    let outcome = workspace.run(&["backup", "prod"]);
    assert_ne!(outcome.code(), 0, "{}", outcome.said());
    outcome.saying(&["backups"]);
    let outcome = workspace.run(&["backup", "prod", "--repository", "/proc/no-such-folder"]);
    assert_ne!(outcome.code(), 0, "{}", outcome.said());
    outcome.saying(&["/proc/no-such-folder"]);
}

#[test]
fn a_full_disk_is_named_and_leaves_no_backup() {
    let (_server, source, workspace) = small();
    source.run(
        "CREATE TABLE filler AS SELECT n, sha512(n::text::bytea) AS body FROM generate_series(1, 60000) AS n",
    );
    let small = workspace.path().join("small-disk");
    std::fs::create_dir(&small).expect("a folder");
    // A file system of its own, gone with the process.
    let mut command = std::process::Command::new("unshare");
    let program = workspace.command(&[]);
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command
        .args(["--mount", "bash", "-c", "mount -t tmpfs -o size=2m none small-disk && \"$0\" \"$@\"; code=$?; find small-disk -name backup.json; exit $code"])
        .arg(program.get_program())
        .args(["backup", "prod", "--repository", "small-disk"])
        .current_dir(workspace.path())
        .env_clear()
        .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let outcome = crate::support::program::start(command).finish().ended_with(1);
    assert!(outcome.stderr.contains("small-disk"), "{}", outcome.said());
    assert!(
        outcome.stderr.contains("No space left") || outcome.stderr.contains("full"),
        "{}",
        outcome.said()
    );
    assert!(!outcome.stdout.contains("backup.json"), "a backup is left\n{}", outcome.said());
}

#[test]
fn a_repository_of_a_newer_format_is_refused() {
    let (_server, _source, workspace) = small();
    let id = workspace.backup(&[]);
    let file = workspace.repository().join("pgstow.json");
    let text = std::fs::read_to_string(&file).expect("the repository has its file");
    let newer = text.replacen("\"format_version\": 1", "\"format_version\": 99", 1).replacen(
        "\"format_version\":1",
        "\"format_version\":99",
        1,
    );
    assert_ne!(text, newer);
    std::fs::write(&file, newer).expect("a file");
    for arguments in [&["backup", "prod"][..], &["list"], &["show", &id], &["verify", &id]] {
        let outcome = workspace.run(arguments);
        assert_ne!(outcome.code(), 0, "{}", outcome.said());
        outcome.saying(&["99"]);
    }
}

/// What happens to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Deleted,
    Emptied,
    CutShort,
    Changed,
}

impl Damage {
    fn inflict(self, file: &Path) {
        let mut bytes = std::fs::read(file).expect("a file of the repository");
        match self {
            Self::Deleted => return std::fs::remove_file(file).expect("the file goes"),
            Self::Emptied => bytes.clear(),
            Self::CutShort => bytes.truncate(bytes.len() / 2),
            Self::Changed => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x20;
            }
        }
        std::fs::write(file, bytes).expect("the file is written");
    }
}

#[test]
fn every_damage_is_found_and_names_its_file() {
    let (server, _source, mut workspace) = small();
    let id = workspace.backup(&[]);
    let folder = workspace.repository().join("backups").join(&id);
    let target = server.database("target");
    workspace.environment("DEV", &target.url());
    let mut files: Vec<_> = workspace.repository_files().into_iter().map(|(path, _)| path).collect();
    files.retain(|path| path.starts_with(&folder) || path.to_string_lossy().contains("/objects/"));
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let sound = std::fs::read(&file).expect("a file of the repository");
        for damage in [Damage::Deleted, Damage::Emptied, Damage::CutShort, Damage::Changed] {
            if sound.is_empty() && !matches!(damage, Damage::Deleted) {
                continue;
            }
            damage.inflict(&file);
            let outcome = workspace.run(&["verify", &id, "--read-data"]);
            assert_ne!(outcome.code(), 0, "{damage:?} {name} was not found\n{}", outcome.said());
            // A folder without a header is no backup; it is the backup that is missing then.
            let named =
                outcome.said().contains(&name) || (outcome.code() == 5 && outcome.said().contains(&id));
            assert!(named, "{damage:?} {name} is not named\n{}", outcome.said());

            let read_by_restore = ["backup.json", "manifest.json.zst", "schema.dump"]
                .contains(&name.as_str())
                || name.len() > 60;
            if read_by_restore {
                let outcome = workspace.run(&["restore", &id, "--to", "dev"]);
                assert_ne!(outcome.code(), 0, "{damage:?} {name} was restored\n{}", outcome.said());
                let kept = target.value("SELECT count(*) FROM pg_class WHERE relname = 'orders'");
                if kept != "0" {
                    // Found while loading: the definitions may be there, the rows not.
                    assert_eq!(target.value("SELECT count(*) FROM orders"), "0", "{damage:?} {name}");
                    target.run("DROP TABLE orders");
                }
            }
            std::fs::write(&file, &sound).expect("the file is put back");
        }
    }
    workspace.run(&["verify", &id, "--read-data"]).succeeded();
}

#[test]
fn a_target_that_is_not_empty_stays_as_it_is() {
    let (server, _source, mut workspace) = small();
    let id = workspace.backup(&[]);
    for content in [
        "CREATE TABLE precious (n integer)",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA used CREATE VIEW v AS SELECT 1 AS n",
    ] {
        let target = server.database("filled");
        target.run(content);
        let before = oracle::state(&target);
        workspace.environment("DEV", &target.url());
        workspace.run(&["restore", &id, "--to", "dev"]).ended_with(4).saying(&[&target.name, "--clean"]);
        oracle::assert_same(&before, &oracle::state(&target));
    }
}

#[test]
fn a_clean_restore_that_fails_leaves_the_target_as_it_was() {
    let (server, source, mut workspace) = small();
    // Rows that break a constraint which is created after they are loaded.
    source.run("CREATE FUNCTION never() RETURNS boolean LANGUAGE sql AS 'SELECT current_database() = ''nowhere'''; CREATE TABLE broken (n integer)");
    source.run("CREATE TABLE parent (n integer PRIMARY KEY); CREATE TABLE child (n integer REFERENCES parent); SET session_replication_role = replica; INSERT INTO child VALUES (7)");
    let id = workspace.backup(&[]);
    let target = server.database("filled");
    target.run("CREATE TABLE precious (n integer); INSERT INTO precious VALUES (1)");
    let before = oracle::state(&target);
    workspace.environment("DEV", &target.url());
    let outcome = workspace.run(&["restore", &id, "--to", "dev", "--clean", "--yes"]).ended_with(1);
    assert!(outcome.stderr.contains("child"), "{}", outcome.said());
    oracle::assert_same(&before, &oracle::state(&target));
}

#[test]
fn a_target_older_than_the_source_needs_is_refused() {
    let source = servers::shared(18).database("newer");
    source.run(
        "CREATE TABLE t (n integer, twice integer GENERATED ALWAYS AS (n * 2)); INSERT INTO t VALUES (1)",
    );
    let mut workspace = Workspace::with_source(&source);
    let id = workspace.backup(&[]);
    let target = servers::shared(DEFAULT_MAJOR).database("older");
    workspace.environment("DEV", &target.url());
    workspace.run(&["restore", &id, "--to", "dev"]).ended_with(4).saying(&["15", "18"]);
    assert_eq!(target.value("SELECT count(*) FROM pg_class WHERE relname = 't'"), "0");
}

#[test]
fn a_missing_extension_is_named_before_anything_is_changed() {
    let source = servers::shared(DEFAULT_MAJOR).database("extended");
    source.run("CREATE SCHEMA settings; CREATE EXTENSION pgstow_settings; CREATE TABLE t (n integer)");
    let mut workspace = Workspace::with_source(&source);
    let id = workspace.backup(&[]);
    // The installed server does not have the tests' extension.
    let installed = ServerBinaries::find(None, None).expect("an installed server").directory().to_owned();
    let other = Arc::new(Server::start_with(DEFAULT_MAJOR, |options| options.binaries = Some(installed)));
    let target = other.database("target");
    workspace.environment("DEV", &target.url());
    workspace.run(&["restore", &id, "--to", "dev"]).ended_with(4).saying(&["pgstow_settings"]);
    assert_eq!(target.value("SELECT count(*) FROM pg_class WHERE relname = 't'"), "0");
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_meant() {
    let (_server, _source, workspace) = small();
    workspace.run(&["backup", "prod", "--schema-only", "--data-only"]).ended_with(2);
    workspace.run(&["backup", "prod", "--jobs", "0"]).ended_with(2).saying(&["64"]);
    workspace.run(&["backup", "prod", "--label", "../../etc"]).ended_with(2).saying(&["label"]);
    workspace.run(&["restore", "latest"]).ended_with(2);
    workspace.run(&["bakcup"]).ended_with(2).saying(&["backup"]);
    std::fs::write(workspace.path().join("pgstow.toml"), "[repositry]\nurl = \"backups\"\n").expect("a file");
    workspace.run(&["list"]).ended_with(2).saying(&["repositry", "repository"]);
    assert!(workspace.backups().is_empty());
}
