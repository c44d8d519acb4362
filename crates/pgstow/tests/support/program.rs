//! Runs the built `pgstow` in an environment of its own and looks at how it ends.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::servers::PASSWORD;

/// Nothing that a test runs takes this long unless it hangs.
const HANG: Duration = Duration::from_secs(600);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) arguments: Vec<String>,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Peak of the process's resident memory, in bytes, as far as it was seen.
    pub(crate) peak_memory_bytes: u64,
}

impl Outcome {
    /// The exit code; 128 + the signal's number when a signal ended it.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().or_else(|| self.status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
    }

    /// Stops the test unless the exit code is `code`.
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "pgstow {}\n{}", self.arguments.join(" "), self.said());
        self
    }

    /// Stops the test unless it is a success.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        self.ended_with(0)
    }

    /// Stops the test unless what was said holds each of `parts`.
    #[track_caller]
    pub(crate) fn saying(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(
                self.said().contains(part),
                "expected {part:?} from pgstow {}\n{}",
                self.arguments.join(" "),
                self.said()
            );
        }
        self
    }

    /// Both outputs.
    pub(crate) fn said(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// A run that goes on. Killed when dropped.
pub(crate) struct Running {
    arguments: Vec<String>,
    child: Child,
    output: mpsc::Receiver<(bool, Vec<u8>)>,
    peak_memory_bytes: u64,
}

/// Starts `command`, which is the program with everything set.
pub(crate) fn start(mut command: Command) -> Running {
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("pgstow starts");
    let (sender, output) = mpsc::channel();
    let stdout = child.stdout.take().expect("standard output is piped");
    let stderr = child.stderr.take().expect("standard error is piped");
    collect(false, stdout, sender.clone());
    collect(true, stderr, sender);
    Running { arguments, child, output, peak_memory_bytes: 0 }
}

fn collect(is_error: bool, mut source: impl Read + Send + 'static, sender: mpsc::Sender<(bool, Vec<u8>)>) {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before a failure is of use all the same.
        let _ = source.read_to_end(&mut bytes);
        let _ = sender.send((is_error, bytes));
    });
}

impl Running {
    /// Process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours").is_none()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).expect("the child has not been waited for");
    }

    /// Waits for the end.
    pub(crate) fn finish(self) -> Outcome {
        self.finish_within(HANG)
    }

    /// Waits for the end; stops the test when it takes longer than `limit`.
    pub(crate) fn finish_within(mut self, limit: Duration) -> Outcome {
        let begin = Instant::now();
        let status = loop {
            self.look_at_memory();
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                break status;
            }
            assert!(
                begin.elapsed() < limit,
                "pgstow {} still runs after {limit:?}",
                self.arguments.join(" ")
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        let (mut stdout, mut stderr) = (String::new(), String::new());
        for _ in 0..2 {
            let (is_error, bytes) = self.output.recv().expect("both outputs are read to their ends");
            let text = if is_error { &mut stderr } else { &mut stdout };
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        assert!(!stderr.contains("panicked at"), "pgstow {} panicked: {stderr}", self.arguments.join(" "));
        for text in [&stdout, &stderr] {
            assert!(!text.contains(PASSWORD), "the password is shown by pgstow {}", self.arguments.join(" "));
        }
        let arguments = std::mem::take(&mut self.arguments);
        Outcome { arguments, status, stdout, stderr, peak_memory_bytes: self.peak_memory_bytes }
    }

    /// The system keeps the peak for as long as the process lives: a late look misses nothing but the end.
    fn look_at_memory(&mut self) {
        let file = PathBuf::from("/proc").join(self.id().to_string()).join("status");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        if let Some(kilobytes) = peak.and_then(|number| number.trim().parse::<u64>().ok()) {
            self.peak_memory_bytes = self.peak_memory_bytes.max(kilobytes * 1024);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
