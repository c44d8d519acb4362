//! Hosted projects: a stand-in of one on a stock server, the checks that tell whether a restore
//! brought back all of a project, and restores that have to pass them.

mod acceptance;
mod checks;
mod drill;
mod files;
mod liveness;
mod realism;
mod stand_in;
mod undo;
mod witness;
