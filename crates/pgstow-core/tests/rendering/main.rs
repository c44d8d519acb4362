//! What a backup records of how the server turns values into bytes: the same as long as nothing that
//! matters changed, different or nothing at all otherwise.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod allowed;
mod changes;
mod ground;
mod meanwhile;
