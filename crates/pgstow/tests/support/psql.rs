//! Stock `psql` on a database, through the trusted socket: for set-up and for looking.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use super::servers::{Server, programs};

/// A database of a test server.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) server: Arc<Server>,
    pub(crate) name: String,
}

impl Database {
    /// Runs a script, statement by statement; stops the test at the first error.
    pub(crate) fn run(&self, script: &str) -> String {
        match self.try_run(script) {
            Ok(output) => output,
            Err(said) => panic!("psql on {} ({}): {said}", self.name, self.server.major),
        }
    }

    /// Runs a script; what psql printed, or what it said when it failed.
    pub(crate) fn try_run(&self, script: &str) -> Result<String, String> {
        let mut command = self.command(&["-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("psql starts");
        let mut input = child.stdin.take().expect("standard input is piped");
        let output = std::thread::scope(|scope| {
            // Written beside reading: either pipe may fill up.
            scope.spawn(move || {
                // A script that fails closes the pipe early; its message says why.
                let _ = input.write_all(script.as_bytes());
            });
            child.wait_with_output().expect("psql ends")
        });
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).expect("psql prints UTF-8"))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The one value that a query gives.
    pub(crate) fn value(&self, query: &str) -> String {
        self.run(query).trim_end_matches('\n').to_owned()
    }

    /// The lines that a query gives.
    pub(crate) fn lines(&self, query: &str) -> Vec<String> {
        self.run(query).lines().map(str::to_owned).collect()
    }

    /// A copy of this database, made by the server; nobody may be connected.
    pub(crate) fn copy(&self, purpose: &str) -> Self {
        self.server.database_from(purpose, &self.name)
    }

    /// Removes it.
    pub(crate) fn drop_database(self) {
        self.server.existing("postgres").run(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }

    /// URL through TCP with SCRAM and TLS.
    pub(crate) fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Opens a session that stays open.
    pub(crate) fn session(&self) -> Session {
        let mut command = self.command(&["-q"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql starts");
        let input = child.stdin.take().expect("standard input is piped");
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Session { child, input: Some(input), output }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs("client").join("psql"));
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", &self.name, "-h"])
            .arg(self.server.process.socket_directory())
            .args(["-p", &self.server.process.socket_port().to_string()])
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("PGCLIENTENCODING", "UTF8");
        command
    }
}

/// A psql that goes on: holds locks and transactions between calls. Ends when dropped.
pub(crate) struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Session {
    /// Runs statements and waits for them; what they printed.
    pub(crate) fn run(&mut self, script: &str) -> String {
        self.send(script);
        self.wait()
    }

    /// Sends statements without waiting for them.
    pub(crate) fn send(&mut self, script: &str) {
        let input = self.input.as_mut().expect("the session is open");
        writeln!(input, "{script};\n\\echo == done ==").and_then(|()| input.flush()).expect("psql reads");
    }

    /// Waits for what was sent last; what it printed.
    pub(crate) fn wait(&mut self) -> String {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("psql prints UTF-8");
            assert!(read > 0, "the session ended early; it said: {said}");
            if line == "== done ==\n" {
                return said;
            }
            said.push_str(&line);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // psql may wait for a lock: end it rather than its input. The server rolls back.
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
