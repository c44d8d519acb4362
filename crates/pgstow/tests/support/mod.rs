//! What the tests stand on: servers of every version, the built program in an environment of its
//! own, stock client programs, and oracles that know nothing of pgstow.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod certificates;
pub(crate) mod fixture;
pub(crate) mod object_stores;
pub(crate) mod oracle;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod psql;
pub(crate) mod servers;
pub(crate) mod stock;
pub(crate) mod waiting;
pub(crate) mod workspace;
