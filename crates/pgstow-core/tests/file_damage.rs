//! Files of pg_dump that are cut off at every place, and that differ in any byte: each is read as damaged
//! and named, or holds what it held. Nothing panics, and nothing is changed.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::postgres::Connection;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::restore::RestorePlan;
use pgstow_core::restore::file::{self, FileOptions};
use pgstow_core::{Error, ErrorKind};

const CONTENT: &str = "
CREATE TABLE a (id integer PRIMARY KEY, body text); INSERT INTO a SELECT n, md5(n::text) FROM generate_series(1, 20) AS n;
CREATE VIEW v AS SELECT count(*) FROM a; SELECT lo_from_bytea(7, 'abc')";

/// Bytes at the end of a tar file that say only that it has ended.
const TAR_END_BYTES: usize = 1024;

/// At the end of a file every place is tried with a server.
const TAIL_BYTES: usize = 24;
/// As many others, of those where the file's beginning is whole.
const TRIED: usize = 30;

struct Ground {
    server: DisposableServer,
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let newest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test/servers/18");
        let binaries = newest.canonicalize().expect("run scripts/set-up-tests").join("bin");
        let options = ServerOptions { binaries: Some(binaries), ..ServerOptions::default() };
        let server = DisposableServer::start(&options).expect("a server");
        let mut connection = Connection::open(&server.settings("postgres"), &Interrupt::new()).unwrap();
        for name in ["source", "target"] {
            connection.execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).unwrap();
        }
        let mut source = Connection::open(&server.settings("source"), &Interrupt::new()).unwrap();
        source.execute(CONTENT).unwrap();
        Self { server, folder: tempfile::tempdir().unwrap() }
    }

    /// A dump of `source` by stock pg_dump.
    fn dump(&self, options: &[&str]) -> PathBuf {
        let file = self.folder.path().join("whole.dump");
        let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test/servers/client-18/bin/pg_dump");
        let mut command = Command::new(client);
        command.env_clear().args(options).arg("-h").arg(self.server.socket_directory());
        command.args(["-p", &self.server.socket_port().to_string(), "-U", "postgres", "-d", "source", "-f"]);
        let output = command.arg(&file).output().expect("pg_dump; run scripts/set-up-tests");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        file
    }

    fn prepare(&self, file: &Path) -> Result<RestorePlan, Error> {
        let options = FileOptions::new(file.to_owned(), self.server.settings("target"));
        file::prepare(&options, &Silent, &Interrupt::new()).map(|prepared| prepared.plan().clone())
    }

    /// As `prepare`, but most damage shows without a server. Of the places where it does not, every one at
    /// the end and every `step`th before is tried with one.
    fn look(
        &self,
        file: &Path,
        from_end: usize,
        length: usize,
        step: usize,
    ) -> Option<Result<RestorePlan, Error>> {
        match file::facts(file) {
            Err(error) => Some(Err(error)),
            Ok(_) if from_end <= TAIL_BYTES || length.is_multiple_of(step) => Some(self.prepare(file)),
            Ok(_) => None,
        }
    }

    /// Relations and large objects of the target: there are none.
    fn assert_empty(&self) {
        let mut target = Connection::open(&self.server.settings("target"), &Interrupt::new()).unwrap();
        let question = "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace)
                        + (SELECT count(*) FROM pg_largeobject_metadata)";
        let rows = target.query(question).unwrap();
        assert_eq!(rows.only().unwrap().get::<i64>(0).unwrap(), 0, "the target has changed");
    }
}

/// A failure names the file; nothing but damage and refusals comes of damage.
fn assert_told(error: &Error, file: &Path, what: &str) {
    let kinds = [ErrorKind::Failed, ErrorKind::Refused, ErrorKind::Usage];
    let said = format!("{error} {:?}", error.reason());
    assert!(kinds.contains(&error.kind()), "{what}: {said}");
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(said.contains(name) || said.contains("the file"), "{what}: no file is named: {said}");
}

/// Cuts a file at every place; `end` bytes at its end may be missing without harm.
fn cut_everywhere(ground: &Ground, file: &Path, end: usize, what: &str) {
    let whole = std::fs::read(file).unwrap();
    let plan = ground.prepare(file).unwrap_or_else(|error| panic!("{what}: {error} {:?}", error.reason()));
    let step = (whole.len() / TRIED).max(1);
    for length in 0..whole.len() {
        std::fs::write(file, &whole[..length]).unwrap();
        match ground.look(file, whole.len() - length, length, step) {
            None => {}
            Some(Err(error)) => assert_told(&error, file, &format!("{what} cut at {length}")),
            Some(Ok(found)) => {
                assert!(length + end >= whole.len(), "{what}: cut at {length} of {} is whole", whole.len());
                assert_eq!((plan.load_rows, &plan.create), (found.load_rows, &found.create), "{what}");
            }
        }
    }
    std::fs::write(file, &whole).unwrap();
    ground.assert_empty();
}

/// Packs a file with a stock program.
fn packed(program: &str, file: &Path) {
    let content = std::fs::read(file).unwrap();
    let mut command = Command::new(program);
    let mut child =
        command.arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it is installed");
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&content));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    std::fs::write(file, output.stdout).unwrap();
}

#[test]
fn a_custom_archive_cut_off_anywhere_is_not_restored() {
    let ground = Ground::new();
    for compression in ["none", "gzip", "lz4", "zstd"] {
        let file = ground.dump(&["-Fc", &format!("--compress={compression}")]);
        cut_everywhere(&ground, &file, 0, compression);
    }
}

#[test]
fn plain_sql_cut_off_anywhere_is_not_restored() {
    let ground = Ground::new();
    // What follows the last comment is empty lines and a command of psql.
    let file = ground.dump(&[]);
    let text = std::fs::read_to_string(&file).unwrap();
    let last = text.find("-- PostgreSQL database dump complete").unwrap()
        + "-- PostgreSQL database dump complete".len();
    cut_everywhere(&ground, &file, text.len() - last, "plain");
}

#[test]
fn a_compressed_script_cut_off_anywhere_is_not_restored() {
    let ground = Ground::new();
    for program in ["gzip", "lz4", "zstd"] {
        let file = ground.dump(&[]);
        packed(program, &file);
        // Sums and end marks follow what is packed.
        cut_everywhere(&ground, &file, 12, program);
    }
}

#[test]
fn a_tar_file_cut_off_anywhere_is_not_restored() {
    let ground = Ground::new();
    let file = ground.dump(&["-Ft"]);
    cut_everywhere(&ground, &file, TAR_END_BYTES, "tar");
}

#[test]
fn any_file_of_a_directory_cut_off_anywhere_is_not_restored() {
    let ground = Ground::new();
    let folder = ground.dump(&["-Fd"]);
    let plan = ground.prepare(&folder).unwrap();
    for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        let whole = std::fs::read(entry.path()).unwrap();
        let step = (whole.len() / TRIED).max(1);
        for length in 0..whole.len() {
            std::fs::write(entry.path(), &whole[..length]).unwrap();
            let what = format!("{} cut at {length} of {}", entry.path().display(), whole.len());
            match ground.look(&folder, whole.len() - length, length, step) {
                None => {}
                Some(Err(error)) => assert_told(&error, &folder, &what),
                Some(Ok(found)) => {
                    assert_eq!((plan.load_rows, &plan.create), (found.load_rows, &found.create), "{what}")
                }
            }
        }
        std::fs::write(entry.path(), &whole).unwrap();
    }
    ground.assert_empty();
}

#[test]
fn no_other_byte_anywhere_in_an_archive_makes_it_panic_or_changes_the_target() {
    let ground = Ground::new();
    for options in [["-Fc", "--compress=none"], ["-Ft", "--compress=none"]] {
        let file = ground.dump(&options);
        let whole = std::fs::read(&file).unwrap();
        let step = (whole.len() / TRIED).max(1);
        for place in 0..whole.len() {
            let mut other = whole.clone();
            other[place] ^= 1 << (place % 8);
            std::fs::write(&file, &other).unwrap();
            if let Some(Err(error)) = ground.look(&file, whole.len() - place, place, step) {
                assert!(error.kind() != ErrorKind::Interrupted, "{options:?}, byte {place}: {error}");
            }
        }
    }
    ground.assert_empty();
}
