//! Exports, restored by stock programs of several versions. The oracle is the source itself.

#[path = "../support/mod.rs"]
mod support;

mod content;
mod csv;
mod dump;
mod hostile;
mod limits;
mod round_trip;
mod tools;
