//! What people and programs see. The rules of the terminal are written once, here: results go to
//! standard output, progress, warnings and errors to standard error; nothing from outside reaches
//! the terminal unescaped; colour only on a terminal and never as the only carrier of meaning.

pub(crate) mod escape;
pub(crate) mod format;
mod output;
pub(crate) mod progress;
pub(crate) mod prompt;
pub(crate) mod table;
mod tally;
mod terminal;
pub(crate) mod text;

pub(crate) use output::Output;
pub(crate) use text::{Text, Tone};
