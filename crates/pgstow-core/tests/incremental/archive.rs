//! Schema archives by stock programs, as scripts that can be compared.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use pgstow_core::postgres::ConnectionSettings;
use pgstow_core::postgres::settings::Host;

/// What pg_dump gives in an exported snapshot.
pub(crate) fn dump(pg_dump: &Path, settings: &ConnectionSettings, snapshot: &str) -> Vec<u8> {
    let Some(Host::Socket { directory, port }) = settings.hosts.first() else {
        panic!("a server on a socket")
    };
    let output = Command::new(pg_dump)
        .env_clear()
        .args(["-Fc", "--schema-only", "--no-subscriptions", "--encoding=UTF8", "-U", &settings.user])
        .args(["--snapshot", snapshot, "-d", &settings.database, "-p", &port.to_string(), "-h"])
        .arg(directory)
        .output()
        .expect("pg_dump runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// An archive as statements, without what is new in every run.
pub(crate) fn script(pg_dump: &Path, archive: &[u8]) -> String {
    let mut restore = Command::new(pg_dump.with_file_name("pg_restore"))
        .env_clear()
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("pg_restore runs");
    let mut input = restore.stdin.take().expect("its input");
    let output = std::thread::scope(|threads| {
        threads.spawn(move || input.write_all(archive).expect("the archive is read"));
        restore.wait_with_output().expect("pg_restore ends")
    });
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().filter(|line| !line.contains("restrict ")).map(|line| format!("{line}\n")).collect()
}
