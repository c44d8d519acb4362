//! The sample data: a shop, made by the server itself from `shop.sql`.

use pgstow_core::postgres::Connection;
use pgstow_core::{Error, ErrorKind, Result};

const SHOP: &str = include_str!("shop.sql");
const MARK: &str = "-- part: ";

/// Fills the database; `progress` hears the name of each part before it begins.
///
/// # Errors
/// The server's, naming the part.
pub(super) fn fill(connection: &mut Connection, scale: f64, progress: &dyn Fn(&str)) -> Result<()> {
    connection.execute(&format!("SELECT pg_catalog.set_config('demo.scale', '{scale}', false)"))?;
    for (name, statements) in parts(SHOP) {
        progress(name);
        connection.execute(statements).map_err(|error| match Error::from(error) {
            interrupted if interrupted.kind() == ErrorKind::Interrupted => interrupted,
            failed => failed.context(format!("sample data, {name}")),
        })?;
    }
    Ok(())
}

/// The parts of the file: name and statements.
fn parts(file: &str) -> impl Iterator<Item = (&str, &str)> {
    file.split(MARK).skip(1).filter_map(|part| part.split_once('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_of_the_file_is_in_a_named_part() {
        let names: Vec<&str> = parts(SHOP).map(|(name, _)| name).collect();
        assert_eq!(names.len(), SHOP.lines().filter(|line| line.starts_with(MARK)).count());
        assert!(names.iter().all(|name| !name.is_empty()));
        let before = SHOP.split(MARK).next().unwrap();
        assert!(before.lines().all(|line| line.is_empty() || line.starts_with("--")), "{before}");
    }
}
