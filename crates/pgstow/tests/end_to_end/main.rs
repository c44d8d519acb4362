//! The built program against real servers. One binary, so that its tests share servers.

#[path = "../support/mod.rs"]
mod support;

mod after;
mod audit;
mod bad_input;
mod balance;
mod concurrent_ddl;
mod connections;
mod copy;
mod diff;
mod drill;
mod encryption;
mod ground;
mod incremental;
mod interrupt;
mod lost_commit;
mod memory;
mod partial;
mod recovery;
mod retention;
mod roles;
mod round_trip;
mod safety;
mod secrets;
mod undo;
mod verification;
