//! Plain SQL as pg_dump writes it: cut into statements, each of them understood as far as a restore
//! needs it. No statement is ever given to a shell or to psql.

mod lexer;
mod roles;
mod statement;
mod tokens;

pub(crate) use lexer::{Piece, Script};
pub(crate) use roles::{Mention, mentions};
pub(crate) use statement::{Name, Statement, classify};
