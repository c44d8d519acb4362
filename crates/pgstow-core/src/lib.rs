//! The library behind pgstow: backups of PostgreSQL that prove themselves.
//!
//! The core reaches no terminal, command line or environment variable: what it needs of them is
//! handed in, and it speaks through a [`monitor::Monitor`]. `ARCHITECTURE.md` maps the modules.

pub mod archive;
pub mod backup;
pub mod diff;
pub mod drill;
pub mod error;
pub mod export;
pub mod interrupt;
pub mod inventory;
pub mod monitor;
mod parallel;
mod pattern;
pub mod platform;
pub mod postgres;
mod random;
pub mod repository;
pub mod restore;
pub mod retention;
pub mod secret;
pub mod verify;

pub use error::{Error, ErrorKind, Result};
