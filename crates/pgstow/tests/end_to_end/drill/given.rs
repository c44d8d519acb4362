//! `--drill-target`: a database of the drill's own on a server that was given.

use super::{json, listed};
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::workspace::Workspace;

/// Databases, roles and memberships of a server.
fn cluster(database: &Database) -> Vec<String> {
    database.lines(
        "SELECT 'database ' || datname FROM pg_database UNION ALL SELECT 'role ' || rolname FROM pg_roles \
         UNION ALL SELECT 'member ' || roleid::regrole || ' ' || member::regrole FROM pg_auth_members ORDER BY 1",
    )
}

#[test]
fn a_given_server_is_left_as_it_was() {
    let server = std::sync::Arc::new(servers::Server::start(DEFAULT_MAJOR, &[]));
    let there = server.database("scratch");
    let admin = server.existing("postgres");
    admin.run("CREATE ROLE driller LOGIN CREATEDB PASSWORD 'drill'; CREATE ROLE nobody LOGIN PASSWORD 'no'; CREATE ROLE shop_app");
    let elsewhere = servers::shared(DEFAULT_MAJOR).database("source");
    elsewhere.run(
        "CREATE ROLE drill_only; CREATE TABLE sale AS SELECT n FROM generate_series(1, 100) AS n; \
         ALTER TABLE sale OWNER TO drill_only; CREATE EXTENSION citext; CREATE EXTENSION postgres_fdw",
    );
    let mut workspace = Workspace::with_source(&elsewhere);
    let backup = workspace.backup(&[]);
    workspace.set("SCRATCH", &server.url_as("driller", "drill", &there.name));
    let before = cluster(&admin);

    let arguments = ["verify", &backup, "--drill", "--drill-target", "$SCRATCH"];
    let refused = workspace.run(&arguments).ended_with(4);
    refused.saying(&["extension postgres_fdw", "permission denied", "--drill-without postgres_fdw"]);
    assert_eq!(cluster(&admin), before);

    let all: Vec<&str> =
        arguments.iter().copied().chain(["--drill-without", "postgres_fdw", "--json"]).collect();
    let report = json(&workspace.run(&all).succeeded().stdout);
    assert_eq!(report["proven"], true);
    let left = report["receipt"]["drill"]["exceptions"].to_string();
    assert!(left.contains("role drill_only") && left.contains("went to driller"), "{left}");
    assert!(report["receipt"]["target"].as_str().expect("a target").contains("/pgstow_drill_"));
    assert_eq!(report["receipt"]["drill"]["own_server"], false);
    assert_eq!(cluster(&admin), before, "something of the drill is left");
    assert!(listed(&workspace)["proven_at"].is_string());

    for (url, why) in [
        (server.url_as("nobody", "no", &there.name), "role nobody may not create databases"),
        (elsewhere.url(), "is the database of environment prod"),
    ] {
        workspace.set("SCRATCH", &url);
        workspace.run(&arguments).ended_with(4).saying(&[why]);
    }
    there.run("CREATE TABLE somebodys (n integer)");
    workspace.set("SCRATCH", &server.url_as("driller", "drill", &there.name));
    workspace.run(&arguments).ended_with(4).saying(&["is not empty"]);
    assert_eq!(cluster(&admin), before);
}

#[test]
fn what_could_reach_other_servers_is_not_installed_on_a_given_one() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("reaching");
    source.run("CREATE EXTENSION dblink; CREATE TABLE plain AS SELECT 1 AS n");
    let there = server.database("scratch");
    let mut workspace = Workspace::with_source(&source);
    let backup = workspace.backup(&[]);
    workspace.set("SCRATCH", &there.url());
    let arguments = ["verify", &backup, "--drill", "--drill-target", "$SCRATCH"];
    workspace.run(&arguments).ended_with(4).saying(&["extension dblink", "reach other servers"]);
    let all: Vec<&str> = arguments.iter().copied().chain(["--drill-without", "dblink"]).collect();
    workspace.run(&all).succeeded().saying(&["extension dblink", "is proven but for", "is a superuser at"]);
}
