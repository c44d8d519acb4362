//! Restores of real backups into real servers: what comes back, what is refused, what is left
//! when something fails.

mod beside;
mod boundaries;
mod clean;
mod damage;
mod empty;
mod ground;
mod owners;
mod partial;
mod postgrest;
mod privileges;
mod rename;
mod roles;
mod rows;
mod rows_only;
