//! How long runs that share a repository wait for each other. Safety rests on none of it.

use std::time::Duration;

/// Times of the protocol between runs (`docs/format.md`, "Concurrent runs").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A run writes its pending mark anew so often.
    pub heartbeat: Duration,
    /// A run whose mark is older, by the store's clock, is taken for dead.
    pub lease: Duration,
    /// A swept condemned list is kept so long.
    pub tombstone: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(60),
            lease: Duration::from_hours(24),
            tombstone: Duration::from_hours(30 * 24),
        }
    }
}
