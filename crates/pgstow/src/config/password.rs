//! Passwords that are kept elsewhere: in a file of their own, or given out by a command.
//!
//! A command runs in a process group of its own, so that it can be ended with all it has started.
//! What it prints is shown to nobody; what it complains of is shown when it fails.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::settings::Secret;
use pgstow_core::{Error, ErrorKind, Result};

use super::variables::Variables;

/// How long a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked at whether the command has ended: `std` cannot wait with a limit.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long an ended command's complaint is waited for; something it left behind may hold the pipe.
const COMPLAINT_PATIENCE: Duration = Duration::from_millis(500);
/// No password or key is longer.
const OUTPUT_LIMIT_BYTES: u64 = 64 * 1024;
/// How much of its complaint is shown.
const COMPLAINT_LIMIT_BYTES: u64 = 2000;

/// The password in a file that holds nothing else.
///
/// # Errors
/// Usage: it cannot be read, or holds no or several lines.
pub(super) fn from_file(path: &Path, notes: &mut Vec<String>) -> Result<Secret> {
    let failed = || Error::new(ErrorKind::Usage, format!("cannot read {}", path.display()));
    let content = std::fs::read_to_string(path).map_err(|error| failed().source(error))?;
    let mode = std::fs::metadata(path).map_err(|error| failed().source(error))?.permissions().mode();
    if mode & 0o077 != 0 {
        // Container platforms mount secrets like this, so it cannot be an error.
        notes.push(format!("{} can be read by others; chmod 600 protects it", path.display()));
    }
    let password = without_line_end(&content);
    if password.is_empty() || password.contains('\n') {
        return Err(failed().why("it must hold the password in one line and nothing else"));
    }
    Ok(Secret::new(password))
}

/// The first line that a shell command prints. It runs in `folder`, with `variables` beside those of
/// the process and without input.
///
/// # Errors
/// When it cannot be started, fails, takes more than 30 seconds or prints nothing; interrupted.
pub(super) fn from_command(
    command: &str,
    folder: &Path,
    variables: &Variables,
    interrupt: &Interrupt,
) -> Result<Secret> {
    password_in(run(command, folder, variables, Wanted::FirstLine, interrupt)?)
}

/// All that a shell command prints, which runs as for [`from_command`].
///
/// # Errors
/// As there.
pub(super) fn output_of_command(
    command: &str,
    folder: &Path,
    variables: &Variables,
    interrupt: &Interrupt,
) -> Result<Vec<u8>> {
    run(command, folder, variables, Wanted::Everything, interrupt)
}

/// What of a command's output is wanted.
#[derive(Clone, Copy)]
enum Wanted {
    FirstLine,
    Everything,
}

fn run(
    command: &str,
    folder: &Path,
    variables: &Variables,
    wanted: Wanted,
    interrupt: &Interrupt,
) -> Result<Vec<u8>> {
    interrupt.check()?;
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).envs(variables.values()).process_group(0);
    if !folder.as_os_str().is_empty() {
        shell.current_dir(folder);
    }
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = shell.spawn().map_err(|error| Error::failed("cannot start sh").source(error))?;
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
        let (output_sender, output_receiver) = channel();
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
            output: output_receiver,
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
            let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
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
    let mut content = Vec::new();
    let mut bounded = output.by_ref().take(OUTPUT_LIMIT_BYTES);
    let read = match wanted {
        Wanted::FirstLine => bounded.read_until(b'\n', &mut content),
        Wanted::Everything => bounded.read_to_end(&mut content),
    };
    // Nobody listens any more when the command failed.
    let _ = sender.send(read.map(|_| content));
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

fn password_in(line: Vec<u8>) -> Result<Secret> {
    let failed = |why: &str| Error::failed("the command gave no password").why(why);
    let line = String::from_utf8(line).map_err(|_| failed("the first line it printed is not UTF-8"))?;
    let password = without_line_end(&line);
    match password {
        "" => Err(failed("the first line it printed is empty, or it printed nothing")),
        _ if password.contains('\0') => Err(failed("the first line it printed holds a zero byte")),
        _ => Ok(Secret::new(password)),
    }
}

fn without_line_end(text: &str) -> &str {
    let line = text.strip_suffix('\n').unwrap_or(text);
    line.strip_suffix('\r').unwrap_or(line)
}

fn too_slow() -> Error {
    Error::failed(format!("the command took longer than {} seconds", COMMAND_LIMIT.as_secs()))
        .hint("does it wait for input? it gets none")
}
