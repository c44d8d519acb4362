//! Catalog queries: what a database holds, asked from the server. `search_path` must be empty, so
//! that names in definitions come qualified.
//!
//! Each topic has a module with one bulk query per kind of object, for servers 13 to 18;
//! [`inventory`] runs them all. [`relations`] and [`sequences`] answer what a backup and a restore
//! ask about tables and the positions of sequences, [`rendering`] what the server turns values into
//! bytes by; [`managed`], [`cron`] and [`vault`] what a platform's tables hold of the user's.

mod columns;
mod constraints;
pub mod cron;
mod foreign;
pub mod hosting;
pub mod inventory;
pub mod managed;
mod operators;
mod platform;
mod privileges;
mod publications;
mod question;
pub mod relations;
mod remarks;
pub mod rendering;
mod roles;
mod routines;
mod rules;
pub mod sequences;
pub mod system_catalogs;
mod tables;
mod text_search;
mod types;
pub mod vault;

pub(crate) use platform::read_policies;
