//! What other sessions, a dump and the reports say of a restore: checks 17 and 21 to 24, as far as
//! they are no questions to a database.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::server::DisposableServer;
use pgstow_core::postgres::settings::{Host, SslMode};
use pgstow_core::postgres::{Connection, ConnectionSettings};
use pgstow_core::repository::format::receipt::Outcome;

use crate::checks::compared;
use crate::stand_in::{CUSTOMER, DATABASE, client_programs};

/// A stock client that points at a server as a superuser.
pub(crate) fn client(program: &str, server: &DisposableServer, superuser: &str) -> Command {
    let mut command = Command::new(client_programs(server.binaries().major()).join(program));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .arg("-h")
        .arg(server.socket_directory())
        .args(["-p", &server.socket_port().to_string(), "-U", superuser]);
    command
}

/// Check 21: the API's server hears that it has to look at the schema again.
pub(crate) struct Listener {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Listener {
    /// Listens from now on.
    pub(crate) fn start(server: &DisposableServer, superuser: &str) -> Self {
        let mut command = client("psql", server, superuser);
        command.args(["-X", "-A", "-t", "-d", DATABASE]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("psql; run scripts/set-up-tests");
        let mut input = process.stdin.take().expect("standard input is piped");
        let mut output = BufReader::new(process.stdout.take().expect("standard output is piped"));
        input.write_all(b"LISTEN pgrst;\n\\echo ready\n").expect("psql reads");
        let mut line = String::new();
        while line != "ready\n" {
            line.clear();
            assert!(output.read_line(&mut line).expect("psql writes") > 0, "psql has ended");
        }
        Self { process, input, output }
    }

    /// What is missing of what it ought to have heard, in words.
    pub(crate) fn missing(mut self) -> Vec<String> {
        self.input.write_all(b"SELECT 'over';\n").expect("psql reads");
        drop(self.input);
        let mut heard = String::new();
        self.output.read_to_string(&mut heard).expect("psql writes");
        self.process.wait().expect("psql ends");
        ["reload schema", "reload config"]
            .iter()
            .filter(|payload| !heard.contains(&format!("with payload \"{payload}\"")))
            .map(|payload| format!("nobody told pgrst: {payload}"))
            .collect()
    }
}

/// Check 22: a pooler that gives a server process to another client after each transaction, with
/// a single process, so that whatever a client leaves behind is seen by the next.
pub(crate) struct TransactionPooler {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl TransactionPooler {
    pub(crate) fn start(server: &DisposableServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("a folder open to the pooler");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let users = folder.path().join("users");
        std::fs::write(&users, format!("\"{CUSTOMER}\" \"\"\n")).expect("a file");
        let configuration = folder.path().join("pgbouncer.ini");
        let lines = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 1\n",
            server.socket_directory().display(),
            server.socket_port(),
            users.display(),
        );
        std::fs::write(&configuration, lines).expect("a file");
        let mut command = Command::new("/usr/sbin/pgbouncer");
        // It refuses to run as root, and has to reach the server's private socket.
        if Command::new("id").arg("-u").output().expect("id runs").stdout == b"0\n" {
            command.args(["-u", "postgres"]);
        }
        command.arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("pgbouncer; run scripts/set-up-tests");
        let pooler = Self { process, port, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < deadline, "pgbouncer listens");
            std::thread::sleep(Duration::from_millis(20));
        }
        pooler
    }

    /// How the customer reaches the project through it.
    pub(crate) fn settings(&self) -> ConnectionSettings {
        let host = Host::Tcp { host: "127.0.0.1".into(), address: None, port: self.port };
        ConnectionSettings { ssl_mode: SslMode::Disable, ..ConnectionSettings::new(host, CUSTOMER, DATABASE) }
    }

    /// The settings that a client finds in the server process it is given.
    pub(crate) fn settings_of_a_client(&self) -> Vec<String> {
        let mut client = Connection::open(&self.settings(), &Interrupt::new()).expect("a client");
        let rows = client.query(
            "SELECT format('%s = %s', name, setting) FROM pg_catalog.pg_settings \
             WHERE name NOT IN ('application_name', 'transaction_isolation', 'transaction_read_only') ORDER BY 1",
        );
        rows.expect("the settings").iter().map(|row| row.get(0).expect("a setting")).collect()
    }

    /// What a client finds changed, in words.
    pub(crate) fn spoilt(&self, before: &[String]) -> Vec<String> {
        compared("a client's settings", before, &self.settings_of_a_client())
    }
}

impl Drop for TransactionPooler {
    fn drop(&mut self) {
        // It may have ended by itself; waiting collects it either way.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Check 23: a whole database and the server's roles as the stock programs write them, sorted.
pub(crate) fn dump(server: &DisposableServer, superuser: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (program, arguments) in
        [("pg_dump", ["-d", DATABASE]), ("pg_dumpall", ["--globals-only", "--no-role-passwords"])]
    {
        let output = client(program, server, superuser).args(arguments).output().expect("the program runs");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        // These lines hold a random word.
        lines.extend(text.lines().filter(|line| !line.contains("restrict")).map(str::to_owned));
    }
    lines.sort();
    lines
}

/// What of a database has changed, in words.
pub(crate) fn changed(before: &[String], after: &[String]) -> Vec<String> {
    compared("the target", before, after)
}

/// A difference that a target forces, and what has to be said about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forced {
    /// The check that notices it.
    pub(crate) number: u8,
    /// Part of the difference.
    pub(crate) difference: &'static str,
    /// Part of the remark that tells it.
    pub(crate) remark: &'static str,
}

/// Check 24: every difference is a forced one and told in a remark of the restore or among what the
/// backup left out, and the outcome, on which the exit code depends, says whether there are any. Also check 17: who has files is told that their
/// bytes are elsewhere.
pub(crate) fn untold(
    differences: &BTreeMap<u8, Vec<String>>,
    forced: &[Forced],
    outcome: Outcome,
    remarks: &[String],
    left_out: &[String],
) -> Vec<String> {
    let mut untold = Vec::new();
    for (number, found) in differences {
        for difference in found {
            let known =
                forced.iter().find(|one| one.number == *number && difference.contains(one.difference));
            match known {
                None => untold.push(format!("check {number}: {difference}")),
                Some(one) if remarks.iter().chain(left_out).any(|told| told.contains(one.remark)) => {}
                Some(one) => {
                    untold.push(format!("check {number}: no remark about {}: {difference}", one.remark))
                }
            }
        }
    }
    let equal = differences.is_empty() && remarks.is_empty();
    if equal != (outcome == Outcome::Equal) {
        untold.push(format!("check 24: the outcome is {outcome:?}, with {} remarks", remarks.len()));
    }
    untold
}

/// Check 17: whether somebody says that the bytes of stored files are elsewhere.
pub(crate) fn bytes_are_told(texts: &[String]) -> Vec<String> {
    if texts.iter().any(|text| text.contains("storage") && text.contains("bytes")) {
        Vec::new()
    } else {
        vec!["nobody says that the bytes of stored files are not included".to_owned()]
    }
}
