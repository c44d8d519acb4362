//! SQL files of `tests/fixtures`, cut to what a server version knows.
//!
//! A line `-- @since 15` begins a part for version 15 and later, `-- @until 14` one for version 14
//! and earlier; `-- @end` ends it. Parts do not nest.

/// Every kind of object that a backup carries, and rows of every type.
pub(crate) const EVERYTHING: &str = include_str!("../fixtures/everything.sql");

/// The part of a fixture that suits a server.
pub(crate) fn for_major(fixture: &str, major: u32) -> String {
    let mut wanted = true;
    let mut text = String::with_capacity(fixture.len());
    for line in fixture.split_inclusive('\n') {
        match line.trim_end().strip_prefix("-- @") {
            Some("end") => wanted = true,
            Some(mark) => wanted = suits(mark, major),
            None if wanted => text.push_str(line),
            None => {}
        }
    }
    text
}

fn suits(mark: &str, major: u32) -> bool {
    let (word, number) = mark.split_once(' ').unwrap_or_else(|| panic!("fixture: @{mark}"));
    let number: u32 = number.parse().unwrap_or_else(|_| panic!("fixture: @{mark}"));
    match word {
        "since" => major >= number,
        "until" => major <= number,
        _ => panic!("fixture: @{mark}"),
    }
}
