//! Rows that differ between states of a database, and rows that are gone put back, on real servers.
//! The oracle is SQL on the same server.

#[path = "../restore/ground.rs"]
#[allow(dead_code, reason = "the tests of restores use all of it")]
mod ground;

mod missing;
mod rows;
