//! PostgREST is told of a new schema once the restore is committed, and only then.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::repository::format::manifest::{Sections, Selection};
use pgstow_core::restore::{self, RestoreOptions};

use crate::ground::{Ground, programs, told};

const PATIENCE: Duration = Duration::from_secs(20);

/// A session that listens to `pgrst`.
struct Listener {
    program: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    asked: usize,
}

impl Listener {
    fn new(ground: &Ground) -> Self {
        let mut program = Command::new(programs("client").join("psql"))
            .args(["-XqAt", "-U", "postgres", "-d", "target", "-h"])
            .arg(ground.server.socket_directory())
            .args(["-p", &ground.server.socket_port().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let input = program.stdin.take().expect("its input");
        let output = BufReader::new(program.stdout.take().expect("its output"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut listener = Self { program, input, lines, asked: 0 };
        listener.input.write_all(b"LISTEN pgrst;\n").expect("psql reads");
        assert_eq!(listener.heard(), [""; 0], "nothing before anything was restored");
        listener
    }

    /// What came until now. psql tells of notifications after a statement that it has read whole.
    fn heard(&mut self) -> Vec<String> {
        // The first answer may overtake a notification that is on its way.
        let mut heard = Vec::new();
        for _ in 0..2 {
            self.asked += 1;
            writeln!(self.input, "SELECT 'asked {}';", self.asked).expect("psql reads");
            let end = format!("asked {}", self.asked);
            let deadline = Instant::now() + PATIENCE;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let line = self.lines.recv_timeout(left).expect("psql answers");
                if line == end {
                    break;
                }
                heard.push(line);
            }
        }
        let payload = |line: String| line.split('"').nth(3).unwrap_or_default().to_owned();
        heard.into_iter().filter(|line| line.contains("\"pgrst\"")).map(payload).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

const TABLE: &str = "CREATE TABLE t (x int); INSERT INTO t VALUES (1)";
const RELOADS: [&str; 2] = ["reload schema", "reload config"];

#[test]
fn the_listener_hears_of_restores_in_parallel_and_in_one_transaction() {
    let ground = Ground::new(TABLE);
    let header = ground.back_up(Selection::default());
    ground.execute("postgres", "CREATE ROLE anon; CREATE ROLE authenticator");
    let mut listener = Listener::new(&ground);
    for clean in [false, true] {
        let options = RestoreOptions { clean, ..ground.options() };
        let (repository, interrupt) = (ground.repository(), Interrupt::new());
        let prepared = restore::prepare(&repository, &header, &options, &interrupt).expect("a plan");
        assert_eq!(listener.heard(), [""; 0], "a plan tells nobody");
        let report = prepared.apply(&Silent, &interrupt).unwrap_or_else(|error| panic!("{}", told(&error)));
        assert_eq!(listener.heard(), RELOADS, "clean {clean}");
        assert!(report.notes.iter().any(|note| note.contains("NOTIFY pgrst")), "{:?}", report.notes);
    }
    // Rows alone change no schema.
    let rows = RestoreOptions { clean: true, sections: Sections::DataOnly, ..ground.options() };
    ground.restore_exactly(&header, &rows);
    assert_eq!(listener.heard(), [""; 0]);
}

#[test]
fn a_restore_that_is_taken_back_tells_nobody() {
    let ground = Ground::new("CREATE TABLE t (x int); CREATE PUBLICATION late FOR TABLE t");
    let header = ground.back_up(Selection::default());
    ground.execute(
        "target",
        "CREATE ROLE anon; CREATE ROLE authenticator; CREATE TABLE mine (x int); CREATE SCHEMA guard; \
         CREATE FUNCTION guard.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not here'; END $$; \
         CREATE EVENT TRIGGER guard ON ddl_command_start WHEN TAG IN ('CREATE PUBLICATION') \
         EXECUTE FUNCTION guard.refuse(); ALTER EVENT TRIGGER guard ENABLE ALWAYS",
    );
    let mut listener = Listener::new(&ground);
    let options = RestoreOptions { clean: true, ..ground.options() };
    let error = ground.restore(&header, &options).unwrap_err();
    assert!(told(&error).contains("not here"), "{}", told(&error));
    assert_eq!(listener.heard(), [""; 0]);
}

#[test]
fn signs_are_its_roles_or_its_event_triggers_and_without_them_nobody_is_told() {
    let ground = Ground::new(TABLE);
    let header = ground.back_up(Selection::default());
    let mut listener = Listener::new(&ground);
    ground.restore_exactly(&header, &ground.options());
    assert_eq!(listener.heard(), [""; 0]);
    ground.execute(
        "target",
        "CREATE SCHEMA watch; CREATE FUNCTION watch.quiet() RETURNS event_trigger LANGUAGE plpgsql AS \
         $$ BEGIN NULL; END $$; CREATE EVENT TRIGGER pgrst_ddl_watch ON ddl_command_end EXECUTE FUNCTION watch.quiet()",
    );
    ground.restore_exactly(&header, &RestoreOptions { clean: true, ..ground.options() });
    assert_eq!(listener.heard(), RELOADS);
}
