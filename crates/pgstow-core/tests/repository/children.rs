//! Runs one test of this program in a process of its own, for what only a process can do: die,
//! compete, lose a privilege, have a small disk.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Tells the child which folder to work in.
const FOLDER: &str = "PGSTOW_TEST_FOLDER";

/// Starts the ignored test `name`, behind `wrapper` (a program and its arguments, or nothing).
pub(crate) fn start(name: &str, wrapper: &[&str], folder: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut command = match wrapper.split_first() {
        Some((wrapper, arguments)) => {
            let mut command = Command::new(wrapper);
            command.args(arguments).arg(program);
            command
        }
        None => Command::new(program),
    };
    command
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {wrapper:?}: {error}"))
}

/// Waits for a child and demands that it ran its one test and passed.
pub(crate) fn expect_success(child: Child) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// The folder that the parent named.
pub(crate) fn folder() -> std::path::PathBuf {
    std::env::var_os(FOLDER).expect("only run by another test").into()
}
