//! Backups of projects, drilled on plain servers: what only the platform has is left out and named, and
//! everything else is equal.

use pgstow_core::drill::{Check, DrillOptions, DrillPlace, DrillReport, Expectation, OwnServer, drill};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::platform::AuthUsers;
use pgstow_core::repository::format::receipt::Outcome;

use super::acceptance::{Journey, Protection};
use super::stand_in::{Era, Profile, Project, client_programs, programs};

/// Drills on a plain server of the project's version, with a check of the user's.
fn drilled(journey: &Journey, major: u32) -> DrillReport {
    let folder = tempfile::tempdir().expect("a folder");
    let path = std::env::join_paths([programs(&major.to_string()), client_programs(major)]).expect("a PATH");
    let options = DrillOptions {
        place: DrillPlace::Own(OwnServer { folder: folder.path().to_owned(), search_path: Some(path) }),
        jobs: 2,
        without: Default::default(),
        checks: vec![Check {
            name: "users".into(),
            sql: "SELECT count(*) > 0 FROM auth.users".into(),
            expectation: Expectation::Value("t".into()),
            timeout: std::time::Duration::from_secs(30),
        }],
    };
    let report = drill(&journey.repository(), journey.header(), &options, &Silent, &Interrupt::new());
    let report = report.unwrap_or_else(|error| panic!("{error}: {:?} {:?}", error.reason(), error.hints()));
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");
    report
}

fn assert_proven(report: &DrillReport) -> Vec<String> {
    let drill = report.receipt.drill.as_ref().expect("a drill");
    let left: Vec<String> =
        drill.exceptions.iter().map(|left| format!("{}: {}", left.what, left.reason)).collect();
    let remarks = &report.receipt.remarks;
    assert!(remarks.is_empty(), "{remarks:#?} beside {left:#?}");
    assert_eq!(report.receipt.outcome, Outcome::Equal, "{left:#?}");
    assert!(drill.checks.iter().all(|check| check.passed), "{:?}", drill.checks);
    left
}

#[test]
fn a_project_is_proven_on_a_plain_server_but_for_what_only_the_platform_has() {
    for (project, protection, major) in [
        (Project::in_use(Profile::Old, Era::Member), Protection::Plain, 15),
        (Project::on(17, Profile::New, Era::Apart).filled(), Protection::Encrypted, 17),
    ] {
        let journey = Journey::of(project, AuthUsers::Full, protection);
        let left = assert_proven(&drilled(&journey, major));
        for told in
            ["extension pg_graphql", "extension supabase_vault", "pg_cron", "notes_hook", "hear messages"]
        {
            assert!(left.iter().any(|line| line.contains(told)), "{told} is not among {left:#?}");
        }
        assert!(left.len() < 20, "{left:#?}");
    }
}

#[test]
fn keys_to_users_that_a_backup_does_not_carry_are_left_out() {
    let journey = Journey::of(Project::in_use(Profile::New, Era::Apart), AuthUsers::None, Protection::Plain);
    let report = drilled(&journey, 15);
    let drill = report.receipt.drill.as_ref().expect("a drill");
    let keys = drill.exceptions.iter().filter(|left| left.what.starts_with("foreign key"));
    assert!(keys.count() > 0, "{:#?}", drill.exceptions);
    assert!(report.receipt.remarks.is_empty(), "{:#?}", report.receipt.remarks);
    // There are no users, and the check says so.
    assert!(!drill.checks[0].passed && report.receipt.outcome == Outcome::Differs);
}
