//! The built program with a repository on each kind of store, against real servers.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod ground;
mod memory;
mod round_trip;
mod secrets;
mod write_only;
