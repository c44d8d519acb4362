//! The audit log: written once, read in order, damage named.

use std::fs;

use pgstow_core::ErrorKind;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::repository::AuditLog;
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::FORMAT_VERSION;
use pgstow_core::repository::format::audit::{AuditEvent, AuditOutcome, Runner};
use tempfile::tempdir;

use crate::sample::*;

fn event(finished_at: &str) -> AuditEvent {
    AuditEvent {
        format_version: FORMAT_VERSION,
        command: "backup".to_owned(),
        environment: Some("prod".to_owned()),
        backups: vec!["prod_2026-11-20T02-00-00Z".to_owned()],
        target: None,
        by: Runner { user: "alice".into(), host: "build-7".into(), process: 1, program: "pgstow".into() },
        started_at: time("2026-11-01T00:00:00Z"),
        finished_at: time(finished_at),
        outcome: AuditOutcome::Done,
        exit_code: 0,
        message: None,
    }
}

fn read(repository: &Repository, since: Option<&str>) -> AuditLog {
    repository.audit_log(since.map(time), &Interrupt::new()).unwrap()
}

#[test]
fn events_are_read_in_the_order_of_time_however_many_end_in_one_second() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let times =
        ["2026-11-03T00:00:00Z", "2026-11-02T00:00:00.5Z", "2026-11-02T00:00:00.25Z", "2026-11-01T00:00:00Z"];
    let events: Vec<AuditEvent> = times.iter().map(|time| event(time)).collect();
    events.iter().for_each(|event| drop(repository.record(event).unwrap()));
    let log = read(&repository, None);
    assert_eq!(log.events, events.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(log.damaged, []);
}

#[test]
fn since_leaves_out_what_ended_before() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    for time in ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z"] {
        repository.record(&event(time)).unwrap();
    }
    for (since, count) in
        [("2026-10-01T00:00:00Z", 3), ("2026-11-02T00:00:00Z", 2), ("2026-11-04T00:00:00Z", 0)]
    {
        assert_eq!(read(&repository, Some(since)).events.len(), count, "{since}");
    }
}

#[test]
fn damaged_events_and_foreign_files_are_named_and_the_others_are_read() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let [damaged, good] =
        ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"].map(|time| repository.record(&event(time)).unwrap());
    let file = place.path().join(&damaged);
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(place.path().join("audit/notes.txt"), "?").unwrap();
    for change in [whole.replace("alice", "mallory"), whole[..80].to_owned(), String::new()] {
        fs::write(&file, change).unwrap();
        let log = read(&repository, None);
        assert_eq!(log.events, [event("2026-11-02T00:00:00Z")]);
        let named: Vec<&str> = log.damaged.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(named, [damaged.as_str(), "audit/notes.txt"]);
    }
    assert!(place.path().join(good).exists());
}

#[test]
fn an_interrupt_ends_the_reading() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    repository.record(&event("2026-11-01T00:00:00Z")).unwrap();
    let interrupt = Interrupt::new();
    interrupt.trigger();
    assert_eq!(repository.audit_log(None, &interrupt).unwrap_err().kind(), ErrorKind::Interrupted);
}

#[test]
fn an_encrypted_repository_keeps_no_message_since_it_may_name_a_table() {
    for protection in Protection::ALL {
        let place = tempdir().unwrap();
        let repository = protection.init(place.path());
        let message = Some("permission denied for table invoices".to_owned());
        let failed = AuditEvent { message: message.clone(), ..event("2026-11-01T00:00:00Z") };
        let path = repository.record(&failed).unwrap();
        let text = fs::read_to_string(place.path().join(path)).unwrap();
        assert_eq!(text.contains("invoices"), protection == Protection::Plain);
        let kept = message.filter(|_| protection == Protection::Plain);
        // Without a key the log can be read all the same.
        assert_eq!(read(&open(place.path()), None).events[0].message, kept);
    }
}
