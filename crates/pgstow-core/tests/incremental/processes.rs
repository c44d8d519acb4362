//! The processes of a server that belongs to the test: found by its own session, never by name.

use pgstow_core::postgres::Connection;
use rustix::process::{Pid, Signal, kill_process};

use crate::ground::{Ground, until, value};

/// Bit of SIGQUIT in the masks of `/proc/<pid>/status`.
const SIGQUIT_BIT: u64 = 1 << 2;

/// A process of the server.
#[derive(Clone, Copy)]
pub(crate) struct Process(i32);

impl Process {
    /// The process behind a session.
    pub(crate) fn of(connection: &Connection) -> Self {
        Self(connection.process_id())
    }

    /// The process that writes the log ahead of the data, and flushes what nobody waits for.
    pub(crate) fn wal_writer(connection: &mut Connection) -> Self {
        let pid = value(connection, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
        Self(pid.parse().expect("a process id"))
    }

    pub(crate) fn kill(self) {
        self.send(Signal::KILL);
    }

    pub(crate) fn stop(self) {
        self.send(Signal::STOP);
        until("the process stops", || self.status().contains("State:\tT"));
    }

    pub(crate) fn go_on(self) {
        self.send(Signal::CONT);
    }

    /// Waits until the stopped process has been told to end at once; going on, it does.
    pub(crate) fn until_told_to_end(self) {
        until("the server tells its processes to end", || {
            let status = self.status();
            let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:\t"));
            let mask = pending.map(|mask| u64::from_str_radix(mask, 16).expect("a mask"));
            mask.is_none_or(|mask| mask & SIGQUIT_BIT != 0)
        });
    }

    fn send(self, signal: Signal) {
        let pid = Pid::from_raw(self.0).expect("a process id");
        kill_process(pid, signal).expect("the process is there");
    }

    /// Empty once the process is gone.
    fn status(self) -> String {
        std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default()
    }
}

/// Kills a session's process: the server ends all others and recovers from its log, while the
/// postmaster, and the time of its start, stay. Returns once the other sessions are gone.
pub(crate) fn crash(ground: &Ground) {
    let (victim, mut other) = (ground.connect(), ground.connect());
    Process::of(&victim).kill();
    until("the server notices", || other.query("SELECT 1").is_err());
}

/// Waits until the server takes connections again.
pub(crate) fn until_it_is_back(ground: &Ground) {
    let settings = ground.settings();
    let interrupt = pgstow_core::interrupt::Interrupt::new();
    until("the server recovers", || {
        let mut session = match Connection::open(&settings, &interrupt) {
            Ok(session) => session,
            Err(_) => return false,
        };
        session.query("SELECT 1").is_ok()
    });
}
