//! Nothing of a drill reaches another database.

use std::sync::Arc;

use super::{assert_nothing_left, json};
use crate::support::servers::{self, DEFAULT_MAJOR, Server};
use crate::support::workspace::Workspace;

const ROLE: &str = "visitor";
const SECRET: &str = "visitors-word";

/// A second server, which counts whoever comes.
fn witness() -> Arc<Server> {
    let server = Arc::new(Server::start(DEFAULT_MAJOR, &["log_connections = on"]));
    server.existing("postgres").run("CREATE DATABASE visited");
    server.existing("visited").run(&format!(
        "CREATE ROLE {ROLE} LOGIN PASSWORD '{SECRET}'; CREATE TABLE visit (n serial, who text); \
         GRANT ALL ON visit, visit_n_seq TO {ROLE}"
    ));
    server
}

/// Connections so far, also those that said nothing.
fn connections(witness: &Arc<Server>) -> usize {
    let log = std::fs::read_to_string(witness.process.socket_directory().join("log")).expect("a log");
    log.lines().filter(|line| line.contains("connection received")).count()
}

fn visits(witness: &Arc<Server>) -> u64 {
    witness.existing("visited").value("SELECT count(*) FROM visit").parse().expect("a number")
}

/// A database whose index, materialized views, check and generated column call the witness, in every way
/// that it can be reached.
fn source(witness: &Arc<Server>) -> crate::support::psql::Database {
    let source = servers::shared(DEFAULT_MAJOR).database("caller");
    let port = witness.process.tcp_port().expect("test servers listen on TCP");
    let socket = witness.process.socket_directory().display().to_string();
    let tcp =
        format!("host=127.0.0.1 port={port} sslmode=require user={ROLE} password={SECRET} dbname=visited");
    let unix = format!("host={socket} port={} user={ROLE} dbname=visited", witness.process.socket_port());
    source.run(&format!(
        "CREATE EXTENSION postgres_fdw; CREATE EXTENSION dblink;
         CREATE SERVER witness FOREIGN DATA WRAPPER postgres_fdw
             OPTIONS (host '127.0.0.1', port '{port}', dbname 'visited', sslmode 'require');
         CREATE USER MAPPING FOR PUBLIC SERVER witness OPTIONS (user '{ROLE}', password '{SECRET}');
         CREATE FOREIGN TABLE visit (n integer, who text) SERVER witness;
         CREATE FUNCTION call_tcp(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
             BEGIN PERFORM public.dblink_exec('{tcp}', 'INSERT INTO visit (who) VALUES (''tcp'')'); RETURN $1; END $$;
         CREATE FUNCTION call_unix(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
             BEGIN PERFORM public.dblink_exec('{unix}', 'INSERT INTO visit (who) VALUES (''unix'')'); RETURN $1; END $$;
         CREATE FUNCTION start_program() RETURNS void LANGUAGE plpgsql AS $$
             BEGIN
                 EXECUTE $x$ COPY (SELECT 1) TO PROGRAM 'bash -c \"exec 3<>/dev/tcp/127.0.0.1/{port}\"' $x$;
             END $$;
         CREATE FUNCTION call_program(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
             BEGIN PERFORM public.start_program(); RETURN $1; END $$;
         CREATE TABLE indexed (n integer); INSERT INTO indexed VALUES (1), (2);
         CREATE INDEX calling_tcp ON indexed (call_tcp(n));
         CREATE TABLE indexed_again (n integer); INSERT INTO indexed_again VALUES (1), (2);
         CREATE INDEX calling_unix ON indexed_again (call_unix(n));
         CREATE TABLE programmed (n integer); INSERT INTO programmed VALUES (1), (2);
         CREATE INDEX calling_program ON programmed (call_program(n));
         CREATE TABLE checked (n integer CHECK (call_program(n) > 0)); INSERT INTO checked VALUES (1);
         CREATE TABLE computed (n integer, m integer GENERATED ALWAYS AS (call_unix(n)) STORED);
         INSERT INTO computed VALUES (1);
         CREATE MATERIALIZED VIEW calling AS SELECT call_tcp(1) AS n;
         CREATE VIEW between AS SELECT who FROM visit;
         CREATE MATERIALIZED VIEW foreign_rows AS SELECT count(*) AS n FROM between;
         CREATE MATERIALIZED VIEW upon AS SELECT n FROM foreign_rows;
         CREATE TABLE plain AS SELECT 1 AS n"
    ));
    source
}

#[test]
fn what_a_backup_calls_is_not_reached_and_the_attempts_are_told() {
    let witness = witness();
    let source = source(&witness);
    let mut workspace = Workspace::with_source(&source);
    workspace.servers_of(DEFAULT_MAJOR);
    let backup = workspace.backup(&[]);
    let before = visits(&witness);
    assert!(before >= 5, "the source reached the witness: {before}");
    let connected = connections(&witness);

    let outcome = workspace.run(&["verify", &backup, "--drill", "--json"]).ended_with(3);
    let report = json(&outcome.stdout);
    assert_eq!(connections(&witness), connected, "a drill connected to another server");
    assert_eq!(visits(&witness), before, "a drill wrote into another database");

    let remarks = report["receipt"]["remarks"].to_string();
    for told in [
        "calling_tcp",
        "calling_unix",
        "calling_program",
        "materialized view public.calling",
        "rows of table public.checked",
        "rows of table public.computed",
    ] {
        assert!(remarks.contains(told), "{told} is not told in {remarks}");
    }
    assert!(remarks.contains("Operation not permitted"), "{remarks}");
    let left = report["receipt"]["drill"]["exceptions"].to_string();
    for told in ["foreign_rows", "public.upon", "user mapping"] {
        assert!(left.contains(told), "{told} is not left out in {left}");
    }
    for secret in [SECRET, "password="] {
        assert!(!left.contains(secret), "{left}");
    }
    assert!(report["receipt"]["lines"].to_string().contains("rows of public.plain"));
    assert_nothing_left(&workspace);
}
