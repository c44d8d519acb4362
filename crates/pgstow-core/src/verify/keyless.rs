//! What can be verified of an encrypted backup without a key: its manifest is stored as its header
//! says, and its objects are there, none empty, with as many bytes as the header says.

use super::{Outcome, Verdict, VerifyLine, joined};
use crate::error::Error;
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::id::ObjectName;

/// The lines `manifest`, `object list`, `objects`, and what stays open for want of a key.
pub(super) fn check(repository: &Repository, header: &Header, wanting: &Error) -> Vec<VerifyLine> {
    let manifest = repository.check_manifest(header);
    let manifest = manifest
        .map(|()| format!("{} bytes, hash right; it is encrypted and was not read", header.manifest_bytes));
    let mut lines = vec![VerifyLine::of("manifest", manifest.map_err(|error| error.in_one_line()))];
    match repository.objects_list(&header.id) {
        Ok(names) => {
            lines.push(VerifyLine::of("object list", Ok(format!("{} objects", names.len()))));
            let sizes = repository.object_sizes(&names).map_err(|error| error.in_one_line());
            lines.push(VerifyLine::of("objects", sizes.and_then(|sizes| judge(header, &names, &sizes))));
        }
        Err(error) => lines.push(VerifyLine::of("object list", Err(error.in_one_line()))),
    }
    lines.push(unread(wanting));
    lines
}

/// The line that says what nobody can verify without a key.
pub(super) fn unread(wanting: &Error) -> VerifyLine {
    let found = format!("tables, rows, files and the content of objects: {}", wanting.in_one_line());
    VerifyLine::new("not verified", Verdict::Open, found)
}

/// Every object there, none empty, and all of them as long as the header says.
pub(super) fn judge(header: &Header, names: &[ObjectName], sizes: &[Option<u64>]) -> Outcome {
    let faults: Vec<String> = names
        .iter()
        .zip(sizes)
        .filter_map(|(name, size)| match size {
            None => Some(format!("object {name} is missing")),
            Some(0) => Some(format!("object {name} is empty")),
            Some(_) => None,
        })
        .collect();
    if !faults.is_empty() {
        return Err(format!("{} of {} objects: {}", faults.len(), names.len(), joined(&faults)));
    }
    let total = sizes.iter().flatten().fold(0u64, |sum, size| sum.saturating_add(*size));
    if total != header.stored_bytes {
        return Err(format!(
            "{} objects have {total} bytes in all, and the header says {}: some are damaged, and with a key \
             --read-data tells which",
            names.len(),
            header.stored_bytes
        ));
    }
    Ok(format!("{} objects present, none empty, {total} bytes as the header says", names.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::format::id::ObjectId;

    fn header(stored_bytes: u64) -> Header {
        let zeros = "0".repeat(64);
        serde_json::from_value(serde_json::json!({
            "format_version": 1, "id": "prod_2026-11-21T09-12-04Z", "environment": "prod",
            "written_by": "pgstow", "started_at": "2026-11-21T09:12:04Z",
            "snapshot_at": "2026-11-21T09:12:04Z", "finished_at": "2026-11-21T09:12:05Z",
            "server_version": "15.18", "database": "shop", "sections": "all", "counts": {}, "rows": 0,
            "content_bytes": 1, "stored_bytes": stored_bytes, "new_bytes": 1, "not_carried": 0,
            "manifest_bytes": 1, "manifest_hash": zeros, "checksum": zeros,
        }))
        .unwrap()
    }

    #[test]
    fn sizes_alone_tell_missing_empty_and_cut_objects() {
        let header = header(30);
        let names: Vec<ObjectName> =
            (0..3u8).map(|number| ObjectName { id: ObjectId::of(&[number]), copy: 0 }).collect();
        let judge = |sizes: [Option<u64>; 3]| judge(&header, &names, &sizes);
        assert!(judge([Some(5), Some(10), Some(15)]).unwrap().starts_with("3 objects present"));
        let fault = judge([Some(5), None, Some(15)]).unwrap_err();
        assert!(fault.contains("1 of 3") && fault.contains(&format!("{} is missing", names[1])), "{fault}");
        let fault = judge([Some(0), Some(15), Some(15)]).unwrap_err();
        assert!(fault.contains(&format!("{} is empty", names[0])), "{fault}");
        let fault = judge([Some(5), Some(10), Some(14)]).unwrap_err();
        assert!(fault.contains("29 bytes in all") && fault.contains("says 30"), "{fault}");
    }
}
