//! Commands of the user that give out secrets.
//!
//! Each runs in a process group of its own, so that it can be ended with all it has started. What
//! it prints is shown to nobody; what it complains of is shown when it fails.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::{Error, Result};

use super::variables::Variables;

/// How long a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked at whether the command has ended: `std` cannot wait with a limit.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long an ended command's complaint is waited for; something it left behind may hold the pipe.
const COMPLAINT_PATIENCE: Duration = Duration::from_millis(500);
/// No password and no set of keys is longer.
const OUTPUT_LIMIT_BYTES: u64 = 64 * 1024;
/// How much of its complaint is shown.
const COMPLAINT_LIMIT_BYTES: u64 = 2000;
/// A line of a complaint with one of these may hold what follows the name.
const SECRET_NAMES: [&str; 4] = ["secretaccesskey", "secret_access_key", "sessiontoken", "session_token"];

/// Which part of a command's output is of interest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// The first line, with its end.
    FirstLine,
    /// All.
    Everything,
}

/// What `command` prints. It runs in `folder`, with `variables` beside those of the process and
/// without input.
///
/// # Errors
/// When it cannot be started, fails or takes more than 30 seconds; interrupted.
pub(super) fn run(
    mut command: Command,
    folder: &Path,
    variables: &Variables,
    wanted: Wanted,
    interrupt: &Interrupt,
) -> Result<Vec<u8>> {
    interrupt.check()?;
    command.envs(variables.values()).process_group(0);
    if !folder.as_os_str().is_empty() {
        command.current_dir(folder);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let child =
        command.spawn().map_err(|error| Error::failed(format!("cannot start {program}")).source(error))?;
    Run::begin(child, wanted, interrupt).finish(interrupt)
}

struct Run {
    child: Arc<Mutex<Child>>,
    deadline: Instant,
    output: Receiver<std::io::Result<Vec<u8>>>,
    complaint: Receiver<Vec<u8>>,
    _registration: pgstow_core::interrupt::Registration,
}

impl Run {
    fn begin(mut child: Child, wanted: Wanted, interrupt: &Interrupt) -> Self {
        let (output_sender, wanted_output) = channel();
        let (complaint_sender, complaint) = channel();
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        // The threads end with the pipes; nobody waits for them.
        std::thread::spawn(move || send_output(output, wanted, &output_sender));
        std::thread::spawn(move || send_complaint(errors, &complaint_sender));
        let child = Arc::new(Mutex::new(child));
        let to_end = Arc::clone(&child);
        let registration = interrupt.register(move || end_group(&to_end));
        Self {
            child,
            deadline: Instant::now() + COMMAND_LIMIT,
            output: wanted_output,
            complaint,
            _registration: registration,
        }
    }

    fn finish(self, interrupt: &Interrupt) -> Result<Vec<u8>> {
        let status = match self.wait(interrupt) {
            Ok(status) => status,
            Err(error) => {
                end_group(&self.child);
                // Collects it; an error means that it has been already.
                let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
                return Err(error);
            }
        };
        if !status.success() {
            let complaint = self.complaint.recv_timeout(COMPLAINT_PATIENCE).unwrap_or_default();
            let complaint = without_secrets(&String::from_utf8_lossy(&complaint));
            let error = Error::failed(format!("the command failed ({status})"));
            return Err(if complaint.is_empty() { error } else { error.why(complaint) });
        }
        let output = self.output.recv_timeout(self.deadline.saturating_duration_since(Instant::now()));
        let output = output.map_err(|_| {
            end_group(&self.child);
            too_slow()
        })?;
        output.map_err(|error| Error::failed("its output cannot be read").source(error))
    }

    fn wait(&self, interrupt: &Interrupt) -> Result<ExitStatus> {
        loop {
            interrupt.check()?;
            let ended = self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
            let ended = ended.map_err(|error| Error::failed("the command is lost").source(error))?;
            if let Some(status) = ended {
                interrupt.check()?;
                return Ok(status);
            }
            if Instant::now() >= self.deadline {
                return Err(too_slow());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Ends the command and all it has started, unless it has been collected.
fn end_group(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // It has not been collected, so the number is still its own.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

fn send_output(output: Option<impl Read>, wanted: Wanted, sender: &Sender<std::io::Result<Vec<u8>>>) {
    let Some(output) = output else { return };
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    let mut limited = output.by_ref().take(OUTPUT_LIMIT_BYTES);
    let read = match wanted {
        Wanted::FirstLine => limited.read_until(b'\n', &mut bytes),
        Wanted::Everything => limited.read_to_end(&mut bytes),
    };
    // Nobody listens any more when the command failed.
    let _ = sender.send(read.map(|_| bytes));
    // The rest is taken too: a command that cannot write would fail.
    let _ = std::io::copy(&mut output, &mut std::io::sink());
}

fn send_complaint(errors: Option<impl Read>, sender: &Sender<Vec<u8>>) {
    let Some(mut errors) = errors else { return };
    let mut complaint = Vec::new();
    // What could be read before an error is still worth showing.
    let _ = errors.by_ref().take(COMPLAINT_LIMIT_BYTES).read_to_end(&mut complaint);
    let _ = sender.send(complaint);
    let _ = std::io::copy(&mut errors, &mut std::io::sink());
}

/// A complaint without the lines that name a secret.
fn without_secrets(complaint: &str) -> String {
    let line = |line: &str| {
        let lower = line.to_lowercase();
        let named = SECRET_NAMES.iter().any(|name| lower.contains(name));
        if named { "(a line that names a secret is left out)".to_owned() } else { line.to_owned() }
    };
    complaint.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

fn too_slow() -> Error {
    Error::failed(format!("the command took longer than {} seconds", COMMAND_LIMIT.as_secs()))
        .hint("does it wait for input? it gets none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_shown_without_lines_that_name_secrets() {
        let complaint = "cannot log in\n{\"SecretAccessKey\": \"hunter2\"}\nAWS_SESSION_TOKEN=hunter2\n";
        let shown = without_secrets(complaint);
        assert!(shown.starts_with("cannot log in\n") && !shown.contains("hunter2"), "{shown}");
    }
}
