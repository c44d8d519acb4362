//! Definitions are taken over from an earlier backup exactly when they are what would be read now.
//! Real servers that sync, 13, 15 and 18; the oracle is a backup that reads everything.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod changes;
mod doubts;
mod ground;
mod meanwhile;
mod steady;
mod transaction_ids;
