//! A restore into a project in use is undone by its customer: the safety backup brings back what the project
//! was, by the checks that a restore has to pass. What stays is what an undo says that it leaves.

use pgstow_core::backup::{self, BackupOptions};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::platform::AuthUsers;
use pgstow_core::repository::format::header::{SAFETY_LABEL, Safety};
use pgstow_core::repository::format::id::{EnvironmentName, Label};
use pgstow_core::repository::format::receipt::Receipt;
use pgstow_core::restore::{self, Protection as Behind, RestoreOptions};

use crate::acceptance::{DRIFT, Journey, Protection, forced_by, told};
use crate::checks::{Findings, changes};
use crate::stand_in::{CUSTOMER, Era, MAJOR, Profile, Project, SUPERUSER, client_programs};
use crate::witness;

/// Restores over a project as its customer, behind a safety backup, which is then put back; the receipt of
/// the undo.
fn restored_and_undone(journey: &Journey, there: &Project) -> Receipt {
    let (repository, interrupt) = (journey.repository(), Interrupt::new());
    let environment = EnvironmentName::new("there").expect("a name");
    let options =
        RestoreOptions { clean: true, safety_backup: true, ..RestoreOptions::new(there.settings()) };
    let prepared = restore::prepare(&repository, journey.header(), &options, &interrupt);
    let mut prepared = prepared.unwrap_or_else(|error| panic!("{}", told(&error)));
    let safety = Safety { target: prepared.plan().target.clone(), before: journey.header().id.to_string() };
    let backup = BackupOptions {
        label: Some(Label::new(SAFETY_LABEL).expect("a label")),
        safety: Some(safety),
        pg_dump: Some(client_programs(MAJOR).join("pg_dump")),
        auth_users: Some(AuthUsers::Full),
        ..BackupOptions::new(environment.clone(), there.settings())
    };
    let report = backup::run(&repository, &backup, &Silent, &interrupt);
    let report = report.unwrap_or_else(|error| panic!("{}", told(&error)));
    prepared.protect(Behind { backup: report.header, command: "pgstow undo there".to_owned() });
    let restored = prepared.apply(&Silent, &interrupt);
    let restored = restored.unwrap_or_else(|error| panic!("{}", told(&error)));

    let way = restore::way_back(&repository, &environment, &[restored.receipt.target]);
    let way = way.unwrap_or_else(|error| panic!("{}", told(&error)));
    let options = RestoreOptions::to_undo(there.settings());
    let undone = restore::prepare(&repository, &way.backup, &options, &interrupt)
        .and_then(|prepared| prepared.apply(&Silent, &interrupt));
    undone.unwrap_or_else(|error| panic!("{}", told(&error))).receipt
}

#[test]
fn a_restore_into_a_project_in_use_is_undone_by_its_customer() {
    let journey =
        Journey::of(Project::in_use(Profile::Old, Era::Member), AuthUsers::Full, Protection::Encrypted);
    for (profile, era) in [(Profile::New, Era::Apart), (Profile::Old, Era::Member)] {
        let there = Project::in_use(profile, era);
        there.execute_as(CUSTOMER, DRIFT);
        let before = Findings::of(&there.settings_as(SUPERUSER));
        let receipt = restored_and_undone(&journey, &there);
        let after = Findings::of(&there.settings_as(SUPERUSER));
        let left = changes(&before, &after);
        let untold = witness::untold(&left, &forced_by(era), receipt.outcome, &receipt.remarks, &[]);
        assert!(untold.is_empty(), "{profile:?} {era:?}: {untold:#?}\nremarks: {:#?}", receipt.remarks);
    }
}
