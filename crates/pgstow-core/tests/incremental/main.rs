//! Incremental backups of real servers: what is proven unchanged is taken over, and never anything
//! else. Every backup is compared with a full read in its own snapshot.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(clippy::print_stdout, reason = "a random test says its seed and what it did")]

mod archive;
mod change;
mod comparison;
mod contents;
mod counterexamples;
mod crash;
mod ground;
mod history;
mod interruption;
mod moments;
mod processes;
mod rendering;
mod repository;
mod soak;
mod storage;
mod transaction_ids;
mod visibility;
mod witness;
