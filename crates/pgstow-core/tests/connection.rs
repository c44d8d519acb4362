//! Sessions against real servers: asking, COPY in both directions, transactions, settings.

use std::io::{self, Write};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::connection::TransactionStatus;
use pgstow_core::postgres::identifier::{quote_literal, quote_qualified};
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::session::{self, Purpose};
use pgstow_core::postgres::{Connection, QueryError};

fn server() -> DisposableServer {
    DisposableServer::start(&ServerOptions::default()).expect("a server")
}

fn connect(server: &DisposableServer) -> Connection {
    Connection::open(&server.settings("postgres"), &Interrupt::new()).expect("a connection")
}

fn number(connection: &mut Connection, sql: &str) -> i64 {
    connection.query(sql).expect(sql).only().expect("one row").get(0).expect("a number")
}

#[track_caller]
fn assert_in_sync(connection: &mut Connection) {
    assert_eq!(number(connection, "SELECT 42"), 42);
}

/// Takes everything and keeps nothing but the size.
fn measure(connection: &mut Connection, sql: &str) -> (Result<u64, QueryError>, usize, usize) {
    let (mut total, mut largest) = (0, 0);
    let rows = connection.copy_out(sql, &mut |piece| {
        total += piece.len();
        largest = largest.max(piece.len());
        Ok(())
    });
    (rows, total, largest)
}

#[test]
fn statements_give_the_rows_of_the_last_one_that_has_any() {
    let server = server();
    let mut connection = connect(&server);
    let rows =
        connection.query("SELECT 1; SELECT 2, NULL, 'it''s' UNION ALL SELECT 3, 'x', ''; SET datestyle=iso");
    let rows = rows.expect("rows");
    assert_eq!(rows.len(), 2);
    let shown: Vec<(i32, Option<&str>, String)> =
        rows.iter().map(|row| (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap())).collect();
    assert_eq!(shown, [(2, None, "it's".to_owned()), (3, Some("x"), String::new())]);
    assert_eq!(connection.query("").expect("nothing").len(), 0);
    assert_eq!(
        connection.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)").expect("inserted"),
        2
    );
    let found = connection
        .query_with("SELECT a FROM t WHERE a = $1 OR $2::text IS NULL ORDER BY a", &[Some("2"), None]);
    assert_eq!(found.expect("rows").len(), 2);
    assert_eq!(connection.server_version_num() / 10_000, server.binaries().major());
    assert!(connection.process_id() > 0);
    assert!(connection.endpoint().starts_with(server.socket_directory().to_str().expect("text")));
}

#[test]
fn errors_leave_the_session_in_sync_and_keep_their_fields() {
    let server = server();
    let mut connection = connect(&server);
    for _ in 0..3 {
        let Err(QueryError::Server(error)) = connection.query("SELECT 1; SELECT 1/0; SELECT 2") else {
            panic!("division by zero went unnoticed")
        };
        assert_eq!(error.code.as_str(), "22012");
        assert_eq!(error.severity, "ERROR");
        assert_eq!(connection.query("SELECT 7").expect("in sync").only().unwrap().get::<i32>(0).unwrap(), 7);
        let failure = connection.query_with("SELECT 1/$1::int", &[Some("0")]).expect_err("division by zero");
        assert_eq!(failure.code(), Some("22012"));
        assert_eq!(connection.query_with("SELECT $1", &[Some("ä")]).expect("in sync").len(), 1);
    }
    connection.execute("BEGIN").expect("begin");
    assert_eq!(connection.transaction_status(), TransactionStatus::Open);
    connection.execute("SELECT nothing").expect_err("no such column");
    assert_eq!(connection.transaction_status(), TransactionStatus::Failed);
    connection.execute("ROLLBACK").expect("rollback");
    assert_eq!(connection.transaction_status(), TransactionStatus::Idle);
}

#[test]
fn copy_moves_data_out_and_in() {
    let server = server();
    let mut connection = connect(&server);
    connection
        .execute("CREATE TABLE a AS SELECT i, md5(i::text) AS m FROM generate_series(1, 200000) AS i; CREATE TABLE b (LIKE a)")
        .expect("tables");
    let mut data = Vec::new();
    let rows = connection.copy_out("COPY a TO STDOUT", &mut |piece| {
        data.extend_from_slice(piece);
        Ok(())
    });
    assert_eq!(rows.expect("copied"), 200_000);
    let mut writer = connection.copy_in("COPY b FROM STDIN").expect("copy in");
    writer.write_all(&data).expect("written");
    assert_eq!(writer.finish().expect("copied"), 200_000);
    let difference =
        connection.query("SELECT count(*) FROM (TABLE a EXCEPT ALL TABLE b) AS d").expect("compared");
    assert_eq!(difference.only().unwrap().get::<i64>(0).unwrap(), 0);
}

#[test]
fn pinned_settings_hold_for_both_purposes() {
    let server = server();
    let mut connection = connect(&server);
    for purpose in [Purpose::Read, Purpose::Restore] {
        session::pin(&mut connection, purpose, "UTF8").expect("pinned");
        for (name, value) in [
            ("search_path", ""),
            ("TimeZone", "UTC"),
            ("bytea_output", "hex"),
            ("row_security", "off"),
            ("lc_monetary", "C"),
            ("statement_timeout", "0"),
            ("client_encoding", "UTF8"),
            ("extra_float_digits", "3"),
        ] {
            let rows = connection.query(&format!("SHOW {name}")).expect("shown");
            assert_eq!(rows.only().unwrap().get::<&str>(0).unwrap(), value, "{name} for {purpose:?}");
        }
    }
}

#[test]
fn a_row_of_200_megabytes_passes_in_small_pieces_both_ways() {
    const LENGTH: usize = 200_000_000;
    let server = server();
    let mut connection = connect(&server);
    let (rows, total, largest) =
        measure(&mut connection, &format!("COPY (SELECT repeat('x', {LENGTH})) TO STDOUT"));
    assert_eq!((rows.expect("copied"), total), (1, LENGTH + 1));
    assert!(largest <= 512 * 1024, "a piece of {largest} bytes");
    connection.execute("CREATE TABLE t (a text)").expect("table");
    let mut writer = connection.copy_in("COPY t FROM STDIN").expect("copy in");
    let piece = vec![b'y'; 1_000_000];
    for _ in 0..LENGTH / piece.len() {
        writer.write_all(&piece).expect("written");
    }
    writer.write_all(b"\n").expect("written");
    assert_eq!(writer.finish().expect("copied"), 1);
    let length = i64::try_from(LENGTH).expect("fits");
    assert_eq!(number(&mut connection, "SELECT length(a) FROM t WHERE a = repeat('y', length(a))"), length);
}

#[test]
fn narrow_rows_come_in_large_pieces() {
    let server = server();
    let mut connection = connect(&server);
    let mut pieces = 0;
    let rows =
        connection.copy_out("COPY (SELECT i FROM generate_series(1, 1000000) AS i) TO STDOUT", &mut |_| {
            pieces += 1;
            Ok(())
        });
    assert_eq!(rows.expect("copied"), 1_000_000);
    assert!(pieces < 10_000, "{pieces} pieces");
}

#[test]
fn an_error_in_the_middle_of_a_copy_out_leaves_the_session_in_sync() {
    let server = server();
    let mut connection = connect(&server);
    let sql = "COPY (SELECT 1 / (100000 - i) FROM generate_series(1, 200000) AS i) TO STDOUT";
    let (rows, total, _) = measure(&mut connection, sql);
    assert_eq!(rows.expect_err("division by zero").code(), Some("22012"));
    assert!(total > 0, "nothing came before the error");
    assert_in_sync(&mut connection);
}

#[test]
fn a_failing_sink_ends_a_copy_that_would_go_on_forever() {
    let server = server();
    let mut connection = connect(&server);
    for sql in ["COPY (SELECT generate_series(1, 9000000000000)) TO STDOUT", "COPY (SELECT 1) TO STDOUT"] {
        let outcome = connection.copy_out(sql, &mut |_| Err(io::Error::other("disk full")));
        assert!(
            matches!(&outcome, Err(QueryError::Sink(error)) if error.to_string() == "disk full"),
            "{outcome:?}"
        );
        assert_in_sync(&mut connection);
    }
}

#[test]
fn refused_data_fails_the_copy_in_and_leaves_the_session_in_sync() {
    let server = server();
    let mut connection = connect(&server);
    connection.execute("CREATE TABLE t (a int)").expect("table");
    for (before, after) in [(0, 0), (10, 10), (0, 5_000_000)] {
        let mut writer = connection.copy_in("COPY t FROM STDIN").expect("copy in");
        let mut rows = vec!["1"; before];
        rows.push("one");
        rows.extend(vec!["2"; after]);
        // A write may notice the refusal early; `finish` always tells it.
        let _ = writer.write_all((rows.join("\n") + "\n").as_bytes());
        assert_eq!(writer.finish().expect_err("not a number").code(), Some("22P02"));
        assert_in_sync(&mut connection);
        assert_eq!(number(&mut connection, "SELECT count(*) FROM t"), 0);
    }
    connection.copy_in("COPY missing FROM STDIN").map(drop).expect_err("no such table");
    assert_in_sync(&mut connection);
}

#[test]
fn a_refusal_is_noticed_while_data_is_still_written() {
    let server = server();
    let mut connection = connect(&server);
    connection.execute("CREATE TABLE t (a int)").expect("table");
    let mut writer = connection.copy_in("COPY t FROM STDIN").expect("copy in");
    writer.write_all(b"one\n").expect("buffered");
    let endless = vec![b'\n'; 100_000];
    let error = loop {
        if let Err(error) = writer.write_all(&endless) {
            break error;
        }
    };
    assert!(error.to_string().contains("invalid input syntax"), "{error}");
    assert_eq!(writer.finish().expect_err("refused").code(), Some("22P02"));
    assert_in_sync(&mut connection);
}

#[test]
fn an_abandoned_copy_in_is_discarded() {
    let server = server();
    let mut connection = connect(&server);
    connection.execute("CREATE TABLE t (a int)").expect("table");
    for rows in [0, 1, 500_000] {
        let mut writer = connection.copy_in("COPY t FROM STDIN").expect("copy in");
        writer.write_all("1\n".repeat(rows).as_bytes()).expect("written");
        drop(writer);
        assert_in_sync(&mut connection);
        assert_eq!(number(&mut connection, "SELECT count(*) FROM t"), 0);
    }
}

/// The server stops reading while nobody takes its notices: a writer that only writes would hang.
#[test]
fn a_flood_of_notices_does_not_block_a_copy_in() {
    let server = server();
    let mut connection = connect(&server);
    connection
        .execute(
            "CREATE TABLE t (a text); \
             CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE WARNING '%', repeat('look out ', 100); RETURN NEW; END $$; \
             CREATE TRIGGER shout BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION shout()",
        )
        .expect("table");
    let mut writer = connection.copy_in("COPY t FROM STDIN").expect("copy in");
    writer.write_all(("x".repeat(200) + "\n").repeat(20_000).as_bytes()).expect("written");
    assert_eq!(writer.finish().expect("copied"), 20_000);
    let notices = connection.take_notices();
    assert!(notices[0].starts_with("WARNING: look out"), "{}", notices[0]);
    assert!(notices.len() < 2000, "{} notices kept", notices.len());
}

#[test]
fn a_copy_where_none_belongs_is_told_and_survived() {
    let server = server();
    let mut connection = connect(&server);
    connection.execute("CREATE TABLE t AS SELECT generate_series(1, 100000) AS a").expect("table");
    for sql in ["COPY t TO STDOUT", "COPY t FROM STDIN"] {
        let outcomes = [
            connection.query(sql).map(|_| ()),
            connection.query_with(sql, &[]).map(|_| ()),
            connection.execute(sql).map(|_| ()),
        ];
        for outcome in outcomes {
            assert!(
                matches!(&outcome, Err(QueryError::Shape(reason)) if reason.contains("COPY")),
                "{outcome:?}"
            );
        }
        assert_in_sync(&mut connection);
    }
    for sql in ["SELECT 1", "", "COPY t FROM STDIN"] {
        let outcome = measure(&mut connection, sql).0;
        assert!(matches!(outcome, Err(QueryError::Shape(_))), "{sql}: {outcome:?}");
    }
    for sql in ["SELECT 1", "", "COPY t TO STDOUT"] {
        let outcome = connection.copy_in(sql).map(drop);
        assert!(matches!(outcome, Err(QueryError::Shape(_))), "{sql}: {outcome:?}");
    }
    assert_in_sync(&mut connection);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM t"), 100_000);
}

#[test]
fn text_that_is_not_utf8_is_an_error_that_says_so() {
    let options = ServerOptions {
        encoding: "SQL_ASCII".to_owned(),
        locale: "C".to_owned(),
        ..ServerOptions::default()
    };
    let server = DisposableServer::start(&options).expect("a server");
    let mut connection = connect(&server);
    let error = connection.query("SELECT 'fine', E'\\xff'").expect_err("not UTF-8");
    assert!(error.to_string().contains("column 1 holds text that is not UTF-8"), "{error}");
    session::pin(&mut connection, Purpose::Read, "SQL_ASCII").expect("pinned");
    let mut data = Vec::new();
    connection
        .copy_out("COPY (SELECT E'\\xff') TO STDOUT", &mut |piece| {
            data.extend_from_slice(piece);
            Ok(())
        })
        .expect("copied");
    assert_eq!(data, b"\xff\n");
}

#[test]
fn notices_notifications_and_parameters_may_come_at_any_time() {
    let server = server();
    let mut connection = connect(&server);
    connection
        .execute("LISTEN news; SET application_name = 'one'; DO $$ BEGIN RAISE NOTICE 'hear'; END $$")
        .expect("done");
    connect(&server).execute("NOTIFY news, 'x'").expect("notified");
    assert_in_sync(&mut connection);
    assert_eq!(connection.parameter("application_name"), Some("one"));
    assert_eq!(connection.take_notices(), ["NOTICE: hear"]);
    assert!(connection.take_notices().is_empty());
}

#[test]
fn parameters_and_statements_that_cannot_be_sent_are_refused() {
    let server = server();
    let mut connection = connect(&server);
    for outcome in [connection.query("SELECT '\0'"), connection.query_with("SELECT $1", &[Some("a\0b")])] {
        assert!(outcome.is_err());
    }
    assert_in_sync(&mut connection);
}

#[test]
fn any_name_and_any_text_survive_quoting() {
    let server = server();
    let mut connection = connect(&server);
    let long = "é".repeat(31) + "x";
    for hostile in
        ["a\"b", "a'b", "a\\b", "new\nline", "$$", "😀", "a;--", "/*", "E'\\'", " ", "\t", "\\", "'", &long]
    {
        connection
            .execute(&format!("CREATE TABLE {} ()", quote_qualified("public", hostile)))
            .expect(hostile);
        for conforming in ["on", "off"] {
            let sql = format!(
                "SET standard_conforming_strings = {conforming}; SET escape_string_warning = off; \
                 SELECT relname, relname = {} FROM pg_class WHERE relname = {}",
                quote_literal(hostile),
                quote_literal(hostile)
            );
            let rows = connection.query(&sql).expect(hostile);
            assert_eq!(rows.only().expect(hostile).get::<&str>(0).expect("a name"), hostile);
        }
    }
}

#[test]
fn pinned_settings_survive_a_rollback() {
    let server = server();
    let mut connection = connect(&server);
    session::pin(&mut connection, Purpose::Read, "UTF8").expect("pinned");
    connection.execute("BEGIN; ROLLBACK").expect("rolled back");
    let rows = connection.query("SHOW search_path").expect("shown");
    assert_eq!(rows.only().expect("one").get::<&str>(0).expect("text"), "");
}
