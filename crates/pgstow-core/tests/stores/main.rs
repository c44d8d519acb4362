//! Every store, against real ones: what all of them must do, and how they say what went wrong.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod conformance;
mod errors;
mod faults;
mod ground;
#[path = "../../../pgstow/tests/support/proxy.rs"]
#[allow(dead_code, reason = "other tests use the other faults")]
mod proxy;
mod servers;
