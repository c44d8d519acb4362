//! A condemned list: names of objects that are never used again, in a file that shows that it is whole.

use super::FormatError;
use super::id::{ObjectId, ObjectName};

const END: &str = "end ";

/// The file of a list: sorted, each name once, one a line; last a line with the hash of all before it.
pub(crate) fn to_file(names: &[ObjectName]) -> Vec<u8> {
    let mut file: Vec<u8> = names.iter().flat_map(|name| format!("{name}\n").into_bytes()).collect();
    let hash = ObjectId::of(&file);
    file.extend_from_slice(format!("{END}{hash}\n").as_bytes());
    file
}

/// The names of a list, sorted.
///
/// # Errors
/// Damaged or cut off.
pub(crate) fn from_file(file: &[u8]) -> Result<Vec<ObjectName>, FormatError> {
    let damaged = |what: &str| FormatError::Damaged(what.to_owned());
    let text = std::str::from_utf8(file).map_err(|_| damaged("it is no text"))?;
    let whole = text.strip_suffix('\n').ok_or_else(|| damaged("it is cut off"))?;
    let start_of_end = whole.rfind('\n').map_or(0, |at| at + 1);
    let (names, end) = whole.split_at(start_of_end);
    let hash = end.strip_prefix(END).ok_or_else(|| damaged("it does not end with its hash"))?;
    if hash != ObjectId::of(names.as_bytes()).to_string() {
        return Err(damaged("its content does not match its hash"));
    }
    let names: Result<Vec<ObjectName>, _> = names.lines().map(str::parse).collect();
    let names = names.map_err(|error| FormatError::Damaged(error.to_string()))?;
    if names.is_sorted_by(|one, next| one < next) {
        Ok(names)
    } else {
        Err(damaged("its names are not in order"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<ObjectName> {
        let mut names: Vec<ObjectName> =
            (0..3u8).map(|number| ObjectName { id: ObjectId::of(&[number]), copy: number.into() }).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        assert_eq!(from_file(&to_file(&names())), Ok(names()));
        assert_eq!(from_file(&to_file(&[])), Ok(Vec::new()));
    }

    #[test]
    fn a_partial_or_changed_list_is_recognised() {
        let file = to_file(&names());
        for at in 0..file.len() {
            assert!(from_file(&file[..at]).is_err(), "cut at {at}");
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(from_file(&changed).is_err(), "byte {at}");
        }
        let twice = vec![names()[0], names()[0]];
        assert!(from_file(&to_file(&twice)).is_err());
    }
}
