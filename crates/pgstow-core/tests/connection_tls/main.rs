//! TLS against real servers. What libpq accepts is accepted, what it refuses is refused: stock psql
//! is asked each time.

mod binding;
mod client;
mod ground;
mod verification;
