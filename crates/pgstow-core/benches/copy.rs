//! COPY between this process and a real server over its socket: narrow and wide rows, out and in.
//! What the server takes is in the figures. `cargo bench -p pgstow-core --bench copy`

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use divan::Bencher;
use divan::counter::BytesCount;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::Connection;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};

/// Taken out and dropped at the end: a static is never dropped, and the server would stay.
static SERVER: Mutex<Option<DisposableServer>> = Mutex::new(None);

/// What a restore sends at a time.
const PIECE_BYTES: usize = 128 * 1024;

const TABLES: &str = "
CREATE TABLE narrow AS SELECT i AS id, hashint8extended(i, 1) AS number, i % 7 = 0 AS flag
FROM generate_series(1, 500000) AS i;
CREATE TABLE wide AS
SELECT i AS id, md5(i::text)::uuid AS key, now() + i * interval '1 second' AS at, i / 7.0 AS amount,
       jsonb_build_object('key', md5('k' || i), 'list', jsonb_build_array(i, i + 1)) AS details,
       repeat(md5('t' || i), 8) AS body
FROM generate_series(1, 60000) AS i;
CREATE TABLE toasted AS
SELECT i AS id, (SELECT string_agg(md5(i || ' ' || piece), '') FROM generate_series(1, 400) AS piece) AS body
FROM generate_series(1, 2000) AS i;
VACUUM narrow, wide, toasted;
";

fn main() {
    let options = ServerOptions { search_path: std::env::var_os("PATH"), ..ServerOptions::default() };
    let server =
        DisposableServer::start(&options).unwrap_or_else(|error| panic!("{error}: {:?}", error.reason()));
    *SERVER.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    ctrlc::set_handler(|| {
        stop();
        std::process::exit(130);
    })
    .expect("nobody else listens for Ctrl-C");
    let mut connection = connect();
    for statement in TABLES.split_inclusive(';').filter(|statement| !statement.trim().is_empty()) {
        connection.execute(statement).expect("the tables are made");
    }
    drop(connection);
    divan::main();
    stop();
}

/// Stops and removes the server.
fn stop() {
    drop(SERVER.lock().unwrap_or_else(PoisonError::into_inner).take());
}

fn connect() -> Connection {
    let server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let settings = server.as_ref().expect("main has started it").settings("postgres");
    Connection::open(&settings, &Interrupt::new()).expect("the server takes connections")
}

/// Everything a COPY gives.
fn content(connection: &mut Connection, table: &str) -> Vec<u8> {
    let mut content = Vec::new();
    connection
        .copy_out(&format!("COPY {table} TO STDOUT"), &mut |piece| {
            content.extend_from_slice(piece);
            Ok(())
        })
        .expect("the table is there");
    content
}

#[divan::bench(args = ["narrow", "wide", "toasted"], sample_count = 20)]
fn copy_out(bencher: Bencher, table: &str) {
    let mut connection = connect();
    let bytes = content(&mut connection, table).len();
    let statement = format!("COPY {table} TO STDOUT");
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let mut seen = 0;
        connection
            .copy_out(&statement, &mut |piece| {
                seen += piece.len();
                Ok(())
            })
            .expect("the table is there");
        assert_eq!(seen, bytes);
    });
}

/// The same without a client that reads: what the server needs at least.
#[divan::bench(args = ["narrow", "wide", "toasted"], sample_count = 20)]
fn server_alone(bencher: Bencher, table: &str) {
    let mut connection = connect();
    let bytes = content(&mut connection, table).len();
    let statement = format!("COPY {table} TO '/dev/null'");
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| connection.execute(&statement).expect("the table is there"));
}

/// Into a new table without indexes, in a transaction that is taken back.
#[divan::bench(args = ["narrow", "wide", "toasted"], sample_count = 10)]
fn copy_in(bencher: Bencher, table: &str) {
    let mut connection = connect();
    let content = content(&mut connection, table);
    bencher.counter(BytesCount::new(content.len())).bench_local(|| {
        let begin = format!("BEGIN; CREATE TEMPORARY TABLE target (LIKE {table}) ON COMMIT DROP");
        connection.execute(&begin).expect("a temporary table");
        let mut copy = connection.copy_in("COPY target FROM STDIN").expect("COPY begins");
        content.chunks(PIECE_BYTES).for_each(|piece| copy.write_all(piece).expect("the server reads"));
        copy.finish().expect("the server takes the rows");
        connection.execute("ROLLBACK").expect("the transaction ends");
    });
}
