//! Figures and tables as text. Pure.

use std::time::Duration;

const MIB: f64 = 1024.0 * 1024.0;

/// Two decimals below ten seconds, else one.
pub(crate) fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.1} s") }
}

/// In MiB; with decimals below 10.
pub(crate) fn mebibytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / MIB;
    if mebibytes < 10.0 { format!("{mebibytes:.2} MiB") } else { format!("{mebibytes:.0} MiB") }
}

/// How many times.
pub(crate) fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}×") } else { format!("{ratio:.1}×") }
}

/// A table in Markdown, its columns lined up; all but the first to the right.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    let width = |column: usize| {
        std::iter::once(&heading)
            .chain(rows)
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(|column| width(column).max(3)).collect();
    let line = |row: &[String]| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<String> = widths
        .iter()
        .enumerate()
        .map(|(column, &width)| match column {
            0 => "-".repeat(width),
            _ => format!("{}:", "-".repeat(width - 1)),
        })
        .collect();
    let body: String = rows.iter().map(|row| line(row)).collect();
    format!("{}{}{body}", line(&heading), line(&rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_as_many_digits_as_mean_something() {
        assert_eq!(seconds(Duration::from_millis(1234)), "1.23 s");
        assert_eq!(seconds(Duration::from_millis(16_543)), "16.5 s");
        assert_eq!(mebibytes(1024 * 1024 * 3 / 2), "1.50 MiB");
        assert_eq!(mebibytes(300 * 1024 * 1024), "300 MiB");
        assert_eq!(times(5.314), "5.31×");
        assert_eq!(times(38.2), "38.2×");
    }

    #[test]
    fn a_table_is_lined_up() {
        let rows = [vec!["COPY …".to_owned(), "1".to_owned()], vec!["b".to_owned(), "2.50 s".to_owned()]];
        assert_eq!(
            table(&["what", "time"], &rows),
            "| what   |   time |\n| ------ | -----: |\n| COPY … |      1 |\n| b      | 2.50 s |\n"
        );
    }
}
