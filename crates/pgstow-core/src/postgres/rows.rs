//! Result rows in text form, stored flat.

use std::any::type_name;

use super::error::QueryError;

/// The rows of one result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    pub(crate) columns: usize,
    pub(crate) text: String,
    /// Start and end in `text` of every cell, row by row; `None` is NULL.
    pub(crate) cells: Vec<Option<(usize, usize)>>,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    rows: &'a Rows,
    first: usize,
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.cells.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map(|index| Row { rows: self, first: index * self.columns })
    }

    /// The only row.
    ///
    /// # Errors
    /// When there is none or more than one.
    pub fn only(&self) -> Result<Row<'_>, QueryError> {
        match self.len() {
            1 => Ok(Row { rows: self, first: 0 }),
            count => Err(QueryError::Shape(format!("expected one row, got {count}"))),
        }
    }
}

impl<'a> Row<'a> {
    /// Column `index` as `T`: `&str`, `String`, integers, `bool`, or an `Option` of these.
    ///
    /// # Errors
    /// When there is no such column, it is NULL and `T` is no `Option`, or it does not parse.
    pub fn get<T: FromText<'a>>(&self, index: usize) -> Result<T, QueryError> {
        if index >= self.rows.columns {
            return Err(QueryError::Shape(format!("no column {index}")));
        }
        let cell = self.rows.cells.get(self.first + index).copied().flatten();
        let text = cell.and_then(|(start, end)| self.rows.text.get(start..end));
        // The value itself stays out: it may be anybody's data.
        T::from_text(text).ok_or_else(|| {
            let found = if text.is_some() { "a value" } else { "NULL" };
            QueryError::Shape(format!("column {index} holds {found} that is no {}", type_name::<T>()))
        })
    }
}

/// A value that a text result can be read as.
pub trait FromText<'a>: Sized {
    /// `None` when `text` is not such a value.
    fn from_text(text: Option<&'a str>) -> Option<Self>;
}

impl<'a> FromText<'a> for &'a str {
    fn from_text(text: Option<&'a str>) -> Option<Self> {
        text
    }
}

impl<'a, T: FromText<'a>> FromText<'a> for Option<T> {
    fn from_text(text: Option<&'a str>) -> Option<Self> {
        match text {
            None => Some(None),
            some => T::from_text(some).map(Some),
        }
    }
}

impl<'a> FromText<'a> for bool {
    fn from_text(text: Option<&'a str>) -> Option<Self> {
        match text? {
            "t" => Some(true),
            "f" => Some(false),
            _ => None,
        }
    }
}

macro_rules! parsed_from_text {
    ($($type:ty),*) => {$(
        impl<'a> FromText<'a> for $type {
            fn from_text(text: Option<&'a str>) -> Option<Self> {
                text?.parse().ok()
            }
        }
    )*};
}

parsed_from_text!(String, char, i16, i32, i64, u16, u32, u64, f64);

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[Option<&str>], columns: usize) -> Rows {
        let mut rows = Rows { columns, ..Rows::default() };
        for cell in cells {
            let start = rows.text.len();
            rows.text.push_str(cell.unwrap_or_default());
            rows.cells.push(cell.map(|_| (start, rows.text.len())));
        }
        rows
    }

    #[test]
    fn cells_are_read_as_the_type_asked_for() {
        let rows = rows(&[Some("t"), Some("-7"), None, Some("ä")], 4);
        let row = rows.only().expect("one row");
        assert!(row.get::<bool>(0).expect("boolean"));
        assert_eq!(row.get::<i64>(1).expect("number"), -7);
        assert_eq!(row.get::<Option<i32>>(2).expect("NULL"), None);
        assert_eq!(row.get::<Option<char>>(3).expect("character"), Some('ä'));
        assert_eq!(row.get::<&str>(3).expect("text"), "ä");
    }

    #[test]
    fn what_does_not_fit_is_an_error_without_the_value() {
        let rows = rows(&[Some("secret"), None], 2);
        let row = rows.only().expect("one row");
        for error in [row.get::<i32>(0).err(), row.get::<&str>(1).err(), row.get::<&str>(2).err()] {
            let shown = error.expect("an error").to_string();
            assert!(!shown.contains("secret"), "{shown}");
        }
        assert!(row.get::<bool>(0).is_err() && row.get::<u64>(1).is_err());
    }

    #[test]
    fn only_wants_exactly_one_row() {
        assert!(rows(&[], 1).only().is_err());
        assert!(rows(&[None, None], 1).only().is_err());
        assert_eq!(rows(&[None, None], 1).iter().count(), 2);
        assert!(Rows::default().is_empty());
    }
}
