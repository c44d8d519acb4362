//! Backups of a database that a platform runs, as the role that its users have: what is the user's
//! is carried, what is the platform's is not, and what stays behind is told.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod definitions;
mod ground;
mod providers;
mod rows;
mod users;
