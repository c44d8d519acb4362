//! Sessions that end from outside: interrupts, cancelled statements, servers that go away.

use std::io::Write;
use std::thread;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::settings::Secret;
use pgstow_core::postgres::{Connection, ConnectionSettings, QueryError};

const ENDLESS: &str = "COPY (SELECT generate_series(1, 9000000000000)) TO STDOUT";

fn server() -> DisposableServer {
    let options = ServerOptions { tcp: true, password: Some(Secret::new("p")), ..ServerOptions::default() };
    DisposableServer::start(&options).expect("a server")
}

/// The same server through its socket and through TCP.
fn ways(server: &DisposableServer) -> [ConnectionSettings; 2] {
    [server.settings("postgres"), server.tcp_settings("postgres").expect("TCP")]
}

fn connect(settings: &ConnectionSettings, interrupt: &Interrupt) -> Connection {
    Connection::open(settings, interrupt).expect("a connection")
}

/// Watches the sessions of a server.
struct Watcher(Connection);

impl Watcher {
    fn of(server: &DisposableServer) -> Self {
        let mut connection = connect(&server.settings("postgres"), &Interrupt::new());
        connection.execute("CREATE TABLE IF NOT EXISTS t (a int)").expect("table");
        Self(connection)
    }

    /// Waits until `condition` holds for the session `process_id`.
    fn wait_until(&mut self, process_id: i32, condition: &str) {
        let sql = format!(
            "SELECT pg_catalog.pg_sleep(0.01), \
             (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE pid = {process_id} AND {condition})"
        );
        while self.0.query(&sql).expect("activity").only().expect("one row").get::<i64>(1).expect("a number")
            == 0
        {}
    }

    fn wait_until_gone(&mut self, process_id: i32) {
        let sql = format!(
            "SELECT pg_catalog.pg_sleep(0.01), \
             (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE pid = {process_id})"
        );
        while self.0.query(&sql).expect("activity").only().expect("one row").get::<i64>(1).expect("a number")
            > 0
        {}
    }

    fn terminate(&mut self, process_id: i32) {
        self.0.query(&format!("SELECT pg_catalog.pg_terminate_backend({process_id})")).expect("terminated");
    }
}

/// Something that keeps a session busy until it is ended.
type Work = fn(&mut Connection) -> Result<u64, QueryError>;

fn sleep(connection: &mut Connection) -> Result<u64, QueryError> {
    connection.query("SELECT pg_sleep(100000)").map(|_| 0)
}

fn copy_out(connection: &mut Connection) -> Result<u64, QueryError> {
    connection.copy_out(ENDLESS, &mut |_| Ok(()))
}

fn copy_in(connection: &mut Connection) -> Result<u64, QueryError> {
    let mut writer = connection.copy_in("COPY t FROM STDIN")?;
    let rows = b"1\n".repeat(10_000);
    while writer.write_all(&rows).is_ok() {}
    writer.finish()
}

const WORKS: [Work; 3] = [sleep, copy_out, copy_in];

#[test]
fn an_interrupt_ends_a_session_and_what_it_does_on_the_server() {
    let server = server();
    let mut watcher = Watcher::of(&server);
    for settings in ways(&server) {
        for work in WORKS {
            let interrupt = Interrupt::new();
            let mut connection = connect(&settings, &interrupt);
            let process_id = connection.process_id();
            let worker =
                thread::spawn(move || (work(&mut connection), connection.query("SELECT 1").map(|_| ())));
            watcher.wait_until(process_id, "state = 'active'");
            interrupt.trigger();
            let (outcome, after) = worker.join().expect("no panic");
            assert!(matches!(outcome, Err(QueryError::Interrupted)), "{outcome:?}");
            assert!(matches!(after, Err(QueryError::Interrupted)), "{after:?}");
            watcher.wait_until_gone(process_id);
        }
    }
}

/// The server reads nothing while a trigger sleeps, so that the writer is stuck in a full socket.
#[test]
fn an_interrupt_ends_a_blocked_write() {
    let server = server();
    let mut watcher = Watcher::of(&server);
    watcher
        .0
        .execute(
            "CREATE FUNCTION dream() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep(100000); RETURN NEW; END $$; \
             CREATE TRIGGER dream BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION dream()",
        )
        .expect("trigger");
    for settings in ways(&server) {
        let interrupt = Interrupt::new();
        let mut connection = connect(&settings, &interrupt);
        let process_id = connection.process_id();
        let worker = thread::spawn(move || copy_in(&mut connection));
        watcher.wait_until(process_id, "wait_event = 'PgSleep'");
        interrupt.trigger();
        let outcome = worker.join().expect("no panic");
        assert!(matches!(outcome, Err(QueryError::Interrupted)), "{outcome:?}");
        watcher.wait_until_gone(process_id);
    }
}

#[test]
fn a_cancelled_statement_leaves_the_session_alive() {
    let server = server();
    let mut watcher = Watcher::of(&server);
    for settings in ways(&server) {
        for work in [sleep as Work, copy_out] {
            let mut connection = connect(&settings, &Interrupt::new());
            let process_id = connection.process_id();
            let cancel = connection.cancel_handle();
            assert!(!format!("{cancel:?}").contains("secret"), "{cancel:?}");
            let worker =
                thread::spawn(move || (work(&mut connection), connection.query("SELECT 1").map(|_| ())));
            watcher.wait_until(process_id, "state = 'active'");
            cancel.cancel(std::time::Duration::from_secs(10)).expect("asked");
            let (outcome, after) = worker.join().expect("no panic");
            assert_eq!(outcome.expect_err("cancelled").code(), Some("57014"));
            after.expect("the session goes on");
        }
    }
}

#[test]
fn a_terminated_session_tells_the_servers_reason() {
    let server = server();
    let mut watcher = Watcher::of(&server);
    for settings in ways(&server) {
        for work in WORKS {
            let mut connection = connect(&settings, &Interrupt::new());
            let process_id = connection.process_id();
            let worker =
                thread::spawn(move || (work(&mut connection), connection.query("SELECT 1").map(|_| ())));
            watcher.wait_until(process_id, "state = 'active'");
            watcher.terminate(process_id);
            let (outcome, after) = worker.join().expect("no panic");
            let error = outcome.expect_err("terminated");
            assert!(error.is_lost(), "{error:?}");
            assert_eq!(error.code(), Some("57P01"), "{error:?}");
            assert!(matches!(after, Err(QueryError::Lost(_))), "{after:?}");
        }
    }
}

#[test]
fn a_session_terminated_while_idle_tells_the_reason_at_its_next_use() {
    let server = server();
    let mut watcher = Watcher::of(&server);
    for settings in ways(&server) {
        let mut connection = connect(&settings, &Interrupt::new());
        let process_id = connection.process_id();
        watcher.terminate(process_id);
        watcher.wait_until_gone(process_id);
        let error = connection.query("SELECT 1").expect_err("terminated");
        assert_eq!(error.code(), Some("57P01"), "{error:?}");
        assert!(error.is_lost());
    }
}

#[test]
fn a_server_that_crashes_is_a_lost_connection() {
    let server = server();
    for (way, work) in WORKS.into_iter().enumerate() {
        let mut watcher = Watcher::of(&server);
        let settings = &ways(&server)[way % 2];
        let mut connection = connect(settings, &Interrupt::new());
        let process_id = connection.process_id();
        let worker = thread::spawn(move || work(&mut connection));
        watcher.wait_until(process_id, "state = 'active'");
        server.stop_immediately().expect("stopped");
        let error = worker.join().expect("no panic").expect_err("lost");
        assert!(error.is_lost(), "{error:?}");
        server.restart().expect("started again");
    }
}

#[test]
fn a_dropped_connection_ends_its_session() {
    let server = server();
    let mut watcher = Watcher::of(&server);
    for settings in ways(&server) {
        let connection = connect(&settings, &Interrupt::new());
        let process_id = connection.process_id();
        watcher.wait_until(process_id, "state = 'idle'");
        drop(connection);
        watcher.wait_until_gone(process_id);
    }
    assert!(!server.log().contains("unexpected EOF"), "{}", server.log());
}

#[test]
fn nothing_starts_after_an_interrupt_but_in_a_new_run() {
    let server = server();
    let interrupt = Interrupt::new();
    let mut connection = connect(&server.settings("postgres"), &interrupt);
    interrupt.trigger();
    assert!(matches!(connection.execute("SELECT 1"), Err(QueryError::Interrupted)));
    let outcome = Connection::open(&server.settings("postgres"), &interrupt);
    assert!(matches!(outcome, Err(pgstow_core::postgres::ConnectError::Interrupted)), "{outcome:?}");
    connect(&server.settings("postgres"), &Interrupt::new());
}
