//! Encrypted repositories on a real file system. A process of its own: passphrases cost memory, and
//! other tests measure theirs.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod files;
#[path = "../repository/sample.rs"]
#[allow(dead_code, reason = "the tests of plain repositories need more of it")]
mod sample;
