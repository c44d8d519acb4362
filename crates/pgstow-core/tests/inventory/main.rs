//! The inventory on real servers, 13 to 18: complete, unharmed by a dump and a restore, and able to
//! see every kind of change.

mod catalog;
mod differences;
mod ground;
mod mutations;
mod relations;
mod round_trip;
mod system_catalogs;
