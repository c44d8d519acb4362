//! Bodies of the server's messages, decoded without trusting them.
//! Format: PostgreSQL manual, "Message Formats".

use super::error::{QueryError, ServerError, SqlState};
use super::rows::Rows;

/// Reads a message body from its start; `None` when it is too short.
pub(super) struct Body<'a>(pub(super) &'a [u8]);

impl<'a> Body<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn int16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn int32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    /// Bytes up to a zero byte, which is skipped.
    pub(super) fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.bytes(end)?;
        self.byte()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// An ErrorResponse or NoticeResponse. Missing fields stay empty.
pub(super) fn server_error(body: &[u8]) -> ServerError {
    let mut error = ServerError {
        severity: String::new(),
        code: SqlState(*b"?????"),
        message: String::new(),
        detail: None,
        hint: None,
        context: None,
    };
    let mut body = Body(body);
    while let Some(field) = body.byte()
        && field != 0
    {
        let Some(text) = body.text() else { break };
        match field {
            // The translated severity is a stand-in for servers before 9.6 only.
            b'S' if error.severity.is_empty() => error.severity = text,
            b'V' => error.severity = text,
            b'C' => error.code = text.as_bytes().try_into().map_or(error.code, SqlState),
            b'M' => error.message = text,
            b'D' => error.detail = Some(text),
            b'H' => error.hint = Some(text),
            b'W' => error.context = Some(text),
            _ => {}
        }
    }
    error
}

/// The count at the end of a command tag such as `COPY 5` or `INSERT 0 5`; 0 without one.
pub(super) fn tag_count(body: &[u8]) -> u64 {
    let tag = Body(body).text().unwrap_or_default();
    tag.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Number of columns in a RowDescription.
pub(super) fn column_count(body: &[u8]) -> Option<usize> {
    Body(body).int16().and_then(|count| usize::try_from(count).ok())
}

/// Adds a DataRow to `rows`.
///
/// # Errors
/// `Shape` when it does not fit the description or holds text that is not UTF-8.
pub(super) fn append_row(rows: &mut Rows, body: &[u8]) -> Result<(), QueryError> {
    let malformed = || QueryError::Shape("malformed row".to_owned());
    let mut body = Body(body);
    let count = body.int16().and_then(|count| usize::try_from(count).ok()).ok_or_else(malformed)?;
    if count != rows.columns {
        return Err(QueryError::Shape(format!("row of {count} columns instead of {}", rows.columns)));
    }
    for column in 0..count {
        let length = body.int32().ok_or_else(malformed)?;
        if length == -1 {
            rows.cells.push(None);
            continue;
        }
        let bytes =
            usize::try_from(length).ok().and_then(|length| body.bytes(length)).ok_or_else(malformed)?;
        let text = std::str::from_utf8(bytes)
            .map_err(|_| QueryError::Shape(format!("column {column} holds text that is not UTF-8")))?;
        let start = rows.text.len();
        rows.text.push_str(text);
        rows.cells.push(Some((start, rows.text.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_field_of_an_error_is_kept() {
        let error = server_error(b"SFEHLER\0VERROR\0C42P01\0Mno table\0Ddetail\0Hhint\0Wwhere\0Fparse.c\0\0");
        assert_eq!((error.severity.as_str(), error.code.as_str()), ("ERROR", "42P01"));
        assert_eq!(error.message, "no table");
        assert_eq!(error.detail.as_deref(), Some("detail"));
        assert_eq!(error.hint.as_deref(), Some("hint"));
        assert_eq!(error.context.as_deref(), Some("where"));
        assert_eq!(error.to_string(), "no table (detail)");
    }

    #[test]
    fn the_detail_of_a_broken_constraint_stays_out_of_the_text() {
        let error = server_error(b"VERROR\0C23505\0Mduplicate key\0DKey (a)=(secret) already exists.\0\0");
        assert_eq!(error.to_string(), "duplicate key");
    }

    #[test]
    fn counts_are_read_from_every_tag() {
        for (tag, count) in [("COPY 5", 5), ("INSERT 0 7", 7), ("SELECT 1", 1), ("BEGIN", 0), ("", 0)] {
            assert_eq!(tag_count(format!("{tag}\0").as_bytes()), count, "{tag}");
        }
    }

    #[test]
    fn rows_that_do_not_fit_their_description_are_refused() {
        let mut rows = Rows { columns: 1, ..Rows::default() };
        append_row(&mut rows, &[0, 1, 0, 0, 0, 2, b'h', b'i']).expect("a row");
        append_row(&mut rows, &[0, 1, 0xff, 0xff, 0xff, 0xff]).expect("a NULL");
        assert_eq!(rows.len(), 2);
        for body in [&[0, 2][..], &[0, 1], &[0, 1, 0, 0, 0, 9, 1], &[0xff, 0xff], &[0, 1, 0x80, 0, 0, 0], &[]]
        {
            assert!(append_row(&mut rows, body).is_err(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_a_parser_panic(body in prop::collection::vec(any::<u8>(), 0..64), columns in 0usize..4) {
            let _ = server_error(&body);
            let _ = tag_count(&body);
            let _ = column_count(&body);
            let _ = append_row(&mut Rows { columns, ..Rows::default() }, &body);
        }
    }
}
