//! Tables: aligned by what the terminal shows, cut to its width.

use super::escape::visible;
use super::text::{Text, Tone};

/// How a column is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Names and words.
    Left,
    /// Names and words that may be cut where lines get too long.
    Cut,
    /// Numbers.
    Right,
}

/// A table with a heading.
#[derive(Debug)]
pub(crate) struct Table {
    heading: Vec<(&'static str, Align)>,
    rows: Vec<(Tone, Vec<String>)>,
}

const GAP: usize = 2;
/// A cut column keeps this much.
const CUT_LEAST: usize = 8;

impl Table {
    /// A table with these columns and no rows.
    pub(crate) fn new(heading: &[(&'static str, Align)]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the heading are dropped, missing ones are empty.
    pub(crate) fn row(&mut self, tone: Tone, cells: Vec<String>) {
        self.rows.push((tone, cells.iter().map(|cell| visible(cell).into_owned()).collect()));
    }

    /// Writes the table; where `width` is known, the widest column that may be cut gives way until
    /// the lines fit. Other columns are never cut: an id is there to be copied.
    pub(crate) fn write(&self, text: &mut Text, width: Option<usize>, ellipsis: &str) {
        let widths = self.widths(width);
        let heading: Vec<String> = self.heading.iter().map(|(name, _)| (*name).to_owned()).collect();
        if heading.iter().any(|name| !name.is_empty()) {
            text.put(Tone::Faint, &self.layout(&heading, &widths, ellipsis)).end();
        }
        for (tone, cells) in &self.rows {
            text.put(*tone, &self.layout(cells, &widths, ellipsis)).end();
        }
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .heading
            .iter()
            .enumerate()
            .map(|(column, (name, _))| {
                let cells = self.rows.iter().filter_map(|(_, cells)| cells.get(column));
                cells.map(|cell| console::measure_text_width(cell)).fold(name.len(), usize::max)
            })
            .collect();
        let Some(limit) = limit else { return widths };
        let gaps = GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > limit {
            let cut = self.heading.iter().zip(&mut widths).filter(|((_, align), _)| *align == Align::Cut);
            match cut.map(|(_, width)| width).max() {
                Some(width) if *width > CUT_LEAST => *width -= 1,
                _ => break,
            }
        }
        widths
    }

    fn layout(&self, cells: &[String], widths: &[usize], ellipsis: &str) -> String {
        let mut line = String::new();
        for (column, ((_, align), width)) in self.heading.iter().zip(widths).enumerate() {
            let cell = cells.get(column).map_or("", String::as_str);
            let cell = console::truncate_str(cell, *width, ellipsis);
            let padding = " ".repeat(width.saturating_sub(console::measure_text_width(&cell)));
            if column > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            match align {
                Align::Left | Align::Cut => line.extend([cell.as_ref(), &padding]),
                Align::Right => line.extend([padding.as_str(), &cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(table: &Table, width: Option<usize>) -> String {
        let mut text = Text::new(width);
        table.write(&mut text, width, "…");
        anstream::adapter::strip_str(text.as_str()).to_string()
    }

    fn sample() -> Table {
        let mut table = Table::new(&[("TABLE", Align::Cut), ("ROWS", Align::Right)]);
        table.row(Tone::Plain, vec!["注文".into(), "12".into()]);
        table.row(Tone::Plain, vec!["public.orders_of_last_year".into(), "1,204,883".into()]);
        table
    }

    #[test]
    fn columns_align_by_displayed_width() {
        let expected = "\
TABLE                            ROWS
注文                               12
public.orders_of_last_year  1,204,883
";
        assert_eq!(drawn(&sample(), None), expected);
    }

    #[test]
    fn names_are_cut_to_the_terminal_and_numbers_are_not() {
        let drawn = drawn(&sample(), Some(25));
        assert!(drawn.lines().all(|line| console::measure_text_width(line) <= 25), "{drawn}");
        assert!(drawn.contains("public.orders…"), "{drawn}");
        assert!(drawn.contains("1,204,883"), "{drawn}");
    }

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        let mut table = Table::new(&[("NAME", Align::Left)]);
        table.row(Tone::Plain, vec!["a\n\u{1b}[31mb".into()]);
        assert_eq!(drawn(&table, None), "NAME\na\\n\\u{1b}[31mb\n");
    }
}
