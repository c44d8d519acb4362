//! How many operations the writers may do: so many while a backup runs, and so many before the next.
//! Otherwise they would change everything between two backups on one machine, and nothing on another.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Debug, Default)]
struct State {
    granted: u64,
    /// Writers at work; those that hold a transaction open for a while do not count.
    busy: u64,
    ended: bool,
}

/// Grants operations to the writers.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    state: Mutex<State>,
    changed: Condvar,
}

impl Pace {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn grant(&self, operations: u64) {
        self.state().granted += operations;
        self.changed.notify_all();
    }

    /// Waits for the right to do an operation; `false` when there are no more.
    pub(crate) fn begin(&self) -> bool {
        let mut state =
            self.changed.wait_while(self.state(), |state| state.granted == 0 && !state.ended).unwrap();
        if state.ended {
            return false;
        }
        state.granted -= 1;
        state.busy += 1;
        true
    }

    pub(crate) fn done(&self) {
        self.state().busy -= 1;
        self.changed.notify_all();
    }

    /// Waits until every operation that was granted is done, at most for `limit`.
    pub(crate) fn wait_until_idle(&self, limit: Duration) -> bool {
        let working = |state: &mut State| state.granted > 0 || state.busy > 0;
        !self.changed.wait_timeout_while(self.state(), limit, working).unwrap().1.timed_out()
    }

    /// Lets the writer rest within an operation, with its transaction open, until `over` or the end.
    pub(crate) fn rest(&self, over: impl Fn() -> bool, limit: Duration) {
        self.done();
        let mut waited = Duration::ZERO;
        let step = Duration::from_millis(20);
        while !over() && !self.state().ended && waited < limit {
            std::thread::sleep(step);
            waited += step;
        }
        self.state().busy += 1;
    }

    pub(crate) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }
}
