//! Files that stock pg_dump writes, restored and imported by the built program. The oracle is stock
//! `pg_dump` of source and restored database, and checksums computed by the server.

#[path = "../support/mod.rs"]
mod support;

mod damage;
mod ground;
mod guards;
mod import;
mod interrupt;
mod memory;
mod old;
mod parts;
mod round_trip;
