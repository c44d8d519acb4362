//! Backups of projects by their customer, restored into a new project, into one that is in use and
//! into a plain server: every check has to pass, or to differ in what the target forces and the
//! receipt tells.

use std::time::Duration;

use pgstow_core::backup::{self, BackupOptions, BackupReport};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::platform::AuthUsers;
use pgstow_core::postgres::ConnectionSettings;
use pgstow_core::postgres::server::DisposableServer;
use pgstow_core::repository::Repository;
use pgstow_core::repository::encryption::{
    Access, Asking, IdentityFile, KeySource, PrivateKey, Recipients, SecretString,
};
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::format::manifest::TableData;
use pgstow_core::repository::format::receipt::Receipt;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::restore::{self, DanglingKeys, RestoreOptions};
use pgstow_core::{Error, ErrorKind, Result};

use crate::checks::{Findings, differences};
use crate::stand_in::{
    CUSTOMER, DATABASE, Era, KINDS, MAJOR, Profile, Project, SUPERUSER, client_programs, plain_server,
};
use crate::witness::{self, Forced, Listener, TransactionPooler};

/// A project that a customer has filled, and a backup of it.
pub(crate) struct Journey {
    source: Project,
    protection: Protection,
    folder: tempfile::TempDir,
    report: BackupReport,
}

impl Journey {
    fn begin(profile: Profile, era: Era) -> Self {
        Self::carrying(AuthUsers::Full, profile, era)
    }

    fn carrying(users: AuthUsers, profile: Profile, era: Era) -> Self {
        Self::of(Project::in_use(profile, era), users, Protection::Encrypted)
    }

    pub(crate) fn of(source: Project, users: AuthUsers, protection: Protection) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let repository = protection.repository(&folder);
        let report = back_up(&repository, &source.settings(), source.server.binaries().major(), users)
            .unwrap_or_else(|error| panic!("{}", told(&error)));
        Self { source, protection, folder, report }
    }

    pub(crate) fn repository(&self) -> Repository {
        self.protection.repository(&self.folder)
    }

    pub(crate) fn header(&self) -> &Header {
        &self.report.header
    }

    /// What the backup says it does not hold.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let items = self.report.not_carried.iter();
        items.map(|item| format!("{}: {}", item.what, item.reason)).collect()
    }

    fn restore(&self, connection: ConnectionSettings, clean: bool) -> Result<Receipt> {
        self.restore_with(connection, clean, DanglingKeys::default())
    }

    fn restore_with(
        &self,
        connection: ConnectionSettings,
        clean: bool,
        dangling_keys: DanglingKeys,
    ) -> Result<Receipt> {
        let options = RestoreOptions {
            clean,
            jobs: 2,
            checksums: true,
            dangling_keys,
            create_roles: true,
            ..RestoreOptions::new(connection)
        };
        let (repository, interrupt) = (self.repository(), Interrupt::new());
        let prepared = restore::prepare(&repository, self.header(), &options, &interrupt)?;
        Ok(prepared.apply(&Silent, &interrupt)?.receipt)
    }

    /// Restores into a server and gives all that is not as it should be.
    fn shortcomings(
        &self,
        server: &DisposableServer,
        superuser: &str,
        connection: ConnectionSettings,
        clean: bool,
        forced: &[Forced],
    ) -> Vec<String> {
        let before = Findings::of(&server.settings(DATABASE));
        let listener = Listener::start(server, superuser);
        let receipt =
            self.restore(connection, clean).unwrap_or_else(|error| panic!("the restore: {}", told(&error)));
        let mut all = listener.missing();
        let source = Findings::of(&self.source.settings_as(SUPERUSER));
        let differences = differences(&source, &before, &Findings::of(&server.settings(DATABASE)));
        let left_out = self.left_out();
        all.extend(witness::untold(&differences, forced, receipt.outcome, &receipt.remarks, &left_out));
        all.extend(witness::bytes_are_told(&[receipt.remarks, left_out].concat()));
        all
    }
}

/// Whether the repository is encrypted: what a project keeps secret goes into such a one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    Plain,
    Encrypted,
}

/// The private key of the encrypted repositories of these tests.
const IDENTITY: &str = "AGE-SECRET-KEY-1K0UA4UG9T4J8924W2QGLHR5AG0HH36MTZM9GZFU43JKPA9FGDUHQN9UUMA";

struct KnownKey;

impl KeySource for KnownKey {
    fn identities(&self) -> Result<Vec<IdentityFile>> {
        Ok(vec![IdentityFile::new("the key of the tests", IDENTITY.into())])
    }

    fn passphrase(&self, _what: &str, _asking: Asking) -> Result<Option<SecretString>> {
        Ok(None)
    }
}

impl Protection {
    fn repository(self, folder: &tempfile::TempDir) -> Repository {
        let store = Box::new(LocalStore::new(&folder.path().join("repository")));
        let access = match self {
            Self::Plain => Access::default(),
            Self::Encrypted => {
                let file = KnownKey.identities().expect("a key").remove(0);
                let keys = PrivateKey::read(&file, |_| Ok(None)).expect("a key");
                let public = keys[0].public().expect("a public key");
                let recipients = Recipients::parse([public.as_str()]).expect("a recipient");
                Access { recipients: Some(recipients), keys: Some(Box::new(KnownKey)), cache: None }
            }
        };
        Repository::open_or_init_with(store, access, jiff::Timestamp::now()).expect("a repository")
    }
}

fn back_up(
    repository: &Repository,
    connection: &ConnectionSettings,
    major: u32,
    auth_users: AuthUsers,
) -> Result<BackupReport> {
    let options = BackupOptions {
        jobs: 2,
        pg_dump: Some(client_programs(major).join("pg_dump")),
        lock_timeout: Duration::from_secs(10),
        auth_users: Some(auth_users),
        ..BackupOptions::new(EnvironmentName::new("project").expect("a name"), connection.clone())
    };
    backup::run(repository, &options, &Silent, &Interrupt::new())
}

/// Everything an error tells a person.
pub(crate) fn told(error: &Error) -> String {
    format!("{error}\n  why {:?}\n  try {:?}", error.reason(), error.hints())
}

fn assert_none(shortcomings: &[String]) {
    assert!(shortcomings.is_empty(), "{} shortcomings: {shortcomings:#?}", shortcomings.len());
}

/// Rows that mean nothing in another project: they are bound to its key, its services or the moment.
const BOUND: [&str; 14] = [
    "auth.flow_state",
    "auth.one_time_tokens",
    "auth.mfa_challenges",
    "auth.webauthn_challenges",
    "auth.saml_relay_states",
    "auth.schema_migrations",
    "cron.job",
    "cron.job_run_details",
    "realtime.messages_2026_11_20",
    "realtime.schema_migrations",
    "storage.migrations",
    "supabase_functions.hooks",
    "supabase_functions.migrations",
    "vault.secrets",
];

#[test]
fn a_backup_leaves_out_the_rows_that_are_bound_to_their_project_and_says_so() {
    let source = Project::in_use(Profile::New, Era::Apart);
    let journey = Journey::of(source, AuthUsers::Full, Protection::Plain);
    let manifest = journey.repository().manifest(journey.header()).expect("a manifest");
    let carried: Vec<String> = manifest
        .tables
        .iter()
        .filter(|table| matches!(table.data, TableData::Carried | TableData::Configuration { .. }))
        .map(|table| format!("{}.{}", table.schema, table.name))
        .collect();
    let bound: Vec<&String> = carried.iter().filter(|table| BOUND.contains(&table.as_str())).collect();
    assert!(bound.is_empty(), "carried: {bound:?}");
    for wanted in [
        "auth.users",
        "auth.identities",
        "storage.buckets",
        "storage.objects",
        "supabase_migrations.seed_files",
    ] {
        assert!(carried.iter().any(|table| table == wanted), "{wanted} is not carried");
    }
    let left_out = journey.left_out();
    assert!(left_out.iter().any(|line| line.contains("vault")), "{left_out:#?}");
    assert_none(&witness::bytes_are_told(&left_out));
}

/// What no stock server lets `postgres` make, and a hosted one does: event triggers, publications
/// of all tables and of schemas, and tables of the platform's superuser.
const GATED: [Forced; 10] = [
    // Its owner is the platform's superuser; it becomes the customer's, who then holds all as owner.
    Forced { number: 1, difference: "table public.legacy: postgres holds", remark: "supabase_admin" },
    Forced { number: 15, difference: "app_note_ddl", remark: "app_note_ddl" },
    Forced { number: 15, difference: "app_quiet", remark: "app_quiet" },
    Forced { number: 18, difference: "comment on event trigger app_note_ddl", remark: "app_note_ddl" },
    Forced { number: 20, difference: "event trigger app_note_ddl", remark: "app_note_ddl" },
    Forced { number: 20, difference: "event trigger app_quiet", remark: "app_quiet" },
    Forced { number: 5, difference: "publication app_everything", remark: "app_everything" },
    Forced { number: 5, difference: "publication app_schema", remark: "app_schema" },
    Forced { number: 20, difference: "public.legacy belongs to", remark: "supabase_admin" },
    Forced { number: 7, difference: "policy \"hear messages\"", remark: "hear messages" },
];

/// What `postgres` cannot make where it is no member of the owners.
const OF_OTHERS: [Forced; 4] = [
    Forced { number: 7, difference: "policy \"own files\"", remark: "own files" },
    Forced { number: 7, difference: "policy \"upload files\"", remark: "upload files" },
    Forced { number: 7, difference: "policy \"see buckets\"", remark: "see buckets" },
    Forced { number: 7, difference: "policy \"own account\"", remark: "own account" },
];

/// What a project of an era forces on a restore by its customer.
pub(crate) fn forced_by(era: Era) -> Vec<Forced> {
    let mut forced = GATED.to_vec();
    if era == Era::Apart {
        forced.extend(OF_OTHERS);
    }
    forced
}

/// A profile and an era.
type Kind = (Profile, Era);

/// Restores a project of a kind into new ones of every kind.
fn new_projects_become_equal(major: u32, source: Kind) {
    let journey =
        Journey::of(Project::on(major, source.0, source.1).filled(), AuthUsers::Full, Protection::Encrypted);
    for target in KINDS {
        let there = Project::on(major, target.0, target.1);
        let shortcomings =
            journey.shortcomings(&there.server, SUPERUSER, there.settings(), false, &forced_by(target.1));
        assert!(shortcomings.is_empty(), "{source:?} into {target:?}: {shortcomings:#?}");
        // A second time: equal again or refused, and nothing changes.
        let before = witness::dump(&there.server, SUPERUSER);
        if let Err(error) = journey.restore(there.settings(), false) {
            assert_eq!(error.kind(), ErrorKind::Refused, "{target:?}: {}", told(&error));
        }
        assert_none(&witness::changed(&before, &witness::dump(&there.server, SUPERUSER)));
    }
}

#[test]
fn an_open_project_of_a_member_goes_into_new_ones_of_every_kind() {
    new_projects_become_equal(MAJOR, (Profile::Old, Era::Member));
}

#[test]
fn an_open_project_goes_into_new_ones_of_every_kind() {
    new_projects_become_equal(MAJOR, (Profile::Old, Era::Apart));
}

#[test]
fn a_closed_project_of_a_member_goes_into_new_ones_of_every_kind() {
    new_projects_become_equal(MAJOR, (Profile::New, Era::Member));
}

#[test]
fn a_closed_project_goes_into_new_ones_of_every_kind() {
    new_projects_become_equal(MAJOR, (Profile::New, Era::Apart));
}

#[test]
fn a_closed_project_goes_into_new_ones_of_every_kind_on_17() {
    new_projects_become_equal(17, (Profile::New, Era::Apart));
}

#[test]
fn an_open_project_of_a_member_goes_into_new_ones_of_every_kind_on_17() {
    new_projects_become_equal(17, (Profile::Old, Era::Member));
}

/// Changes of a project in use that a restore has to undo.
pub(crate) const DRIFT: &str = "
    DROP TABLE public.members_only;
    CREATE TABLE public.members_only (other text);
    CREATE TABLE public.surplus (x public.mood);
    GRANT ALL ON ALL TABLES IN SCHEMA public TO anon;
    GRANT EXECUTE ON FUNCTION public.server_only() TO anon;
    DELETE FROM public.notes WHERE id > 120;
    UPDATE public.ledger SET amount = 1000;
    ALTER PUBLICATION supabase_realtime SET TABLE public.ledger;
    ALTER VIEW public.front_page RESET (security_invoker);
    COMMENT ON TABLE public.profiles IS 'changed';
    SELECT lo_put(4711, 0, 'changed')";

/// Restores a project of a kind over projects in use of every kind.
fn projects_in_use_become_equal(major: u32, source: Kind) {
    let journey =
        Journey::of(Project::on(major, source.0, source.1).filled(), AuthUsers::Full, Protection::Encrypted);
    for target in KINDS {
        let there = Project::on(major, target.0, target.1).filled();
        there.execute_as(
            SUPERUSER,
            "UPDATE cron.job SET active = false; DROP TRIGGER on_auth_user_deleted ON auth.users",
        );
        there.execute_as(CUSTOMER, DRIFT);
        let shortcomings =
            journey.shortcomings(&there.server, SUPERUSER, there.settings(), true, &forced_by(target.1));
        assert!(shortcomings.is_empty(), "{source:?} over {target:?}: {shortcomings:#?}");
    }
}

#[test]
fn an_open_project_of_a_member_replaces_those_of_every_kind() {
    projects_in_use_become_equal(MAJOR, (Profile::Old, Era::Member));
}

#[test]
fn an_open_project_replaces_those_of_every_kind() {
    projects_in_use_become_equal(MAJOR, (Profile::Old, Era::Apart));
}

#[test]
fn a_closed_project_of_a_member_replaces_those_of_every_kind() {
    projects_in_use_become_equal(MAJOR, (Profile::New, Era::Member));
}

#[test]
fn a_closed_project_replaces_those_of_every_kind() {
    projects_in_use_become_equal(MAJOR, (Profile::New, Era::Apart));
}

#[test]
fn a_closed_project_replaces_those_of_every_kind_on_17() {
    projects_in_use_become_equal(17, (Profile::New, Era::Apart));
}

#[test]
fn an_open_project_of_a_member_replaces_those_of_every_kind_on_17() {
    projects_in_use_become_equal(17, (Profile::Old, Era::Member));
}

#[test]
fn a_restore_that_fails_leaves_a_project_in_use_as_it_was() {
    let journey = Journey::begin(Profile::Old, Era::Member);
    let there = Project::in_use(Profile::New, Era::Apart);
    there.execute_as(CUSTOMER, DRIFT);
    // Lets everything pass until almost all is done.
    there.execute_as(
        SUPERUSER,
        "CREATE FUNCTION extensions.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ \
         BEGIN RAISE 'no publications here'; END $$; \
         CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE PUBLICATION', 'ALTER PUBLICATION') \
         EXECUTE FUNCTION extensions.refuse(); ALTER EVENT TRIGGER refuse ENABLE ALWAYS",
    );
    let before = witness::dump(&there.server, SUPERUSER);
    let error = journey.restore(there.settings(), true).expect_err("no publications");
    assert!(told(&error).contains("no publications here"), "{}", told(&error));
    assert_none(&witness::changed(&before, &witness::dump(&there.server, SUPERUSER)));
}

/// What a server without the platform forces on a restore by its superuser.
///
/// What the source has and a plain server had not comes along, where a project would have it already:
/// that is what the checks against the state before notice (no remark needed).
const PLAIN: [Forced; 15] = [
    Forced { number: 3, difference: "may use schema public", remark: "" },
    Forced { number: 3, difference: "schema public: ", remark: "" },
    Forced { number: 6, difference: "event trigger ensure_rls", remark: "" },
    Forced { number: 10, difference: ": 0 rows", remark: "" },
    Forced { number: 9, difference: "notes_hook", remark: "notes_hook" },
    // Told in the plan: such settings belong to the place.
    Forced { number: 20, difference: "every role in this database", remark: "" },
    Forced { number: 13, difference: "supabase_vault", remark: "supabase_vault" },
    Forced { number: 13, difference: "pg_graphql", remark: "pg_graphql" },
    Forced { number: 13, difference: "pg_cron", remark: "pg_cron" },
    Forced { number: 16, difference: "secrets:", remark: "vault" },
    Forced { number: 16, difference: "jobs:", remark: "cron" },
    Forced { number: 17, difference: "bucket", remark: "storage" },
    Forced { number: 7, difference: "on realtime.messages", remark: "hear messages" },
    // The service's own publication of its own table.
    Forced { number: 5, difference: "supabase_realtime_messages_publication", remark: "" },
    Forced { number: 18, difference: "publication supabase_realtime_messages_publication", remark: "" },
];

#[test]
fn plain_servers_get_all_they_can_hold_of_projects_of_every_kind() {
    for (profile, era) in KINDS {
        let journey = Journey::begin(profile, era);
        let there = plain_server(MAJOR);
        let connection = there.settings(DATABASE);
        let shortcomings = journey.shortcomings(&there, "postgres", connection, false, &PLAIN);
        assert!(shortcomings.is_empty(), "{profile:?} {era:?}: {shortcomings:#?}");
    }
}

#[test]
fn a_plain_server_gets_all_it_can_hold_of_a_project_on_17() {
    // A superuser creates roles without a membership, and needs none to admit others.
    let admits = Forced { number: 20, difference: "postgres is a member of app_", remark: "" };
    let journey = Journey::of(
        Project::on(17, Profile::New, Era::Apart).filled(),
        AuthUsers::Full,
        Protection::Encrypted,
    );
    let there = plain_server(17);
    let forced = [&PLAIN[..], &[admits]].concat();
    assert_none(&journey.shortcomings(&there, "postgres", there.settings(DATABASE), false, &forced));
}

#[test]
fn a_transaction_pooler_is_refused_and_other_clients_keep_their_settings() {
    let source = Project::in_use(Profile::New, Era::Apart);
    let pooler = TransactionPooler::start(&source.server);
    let folder = tempfile::tempdir().expect("a folder");
    let before = pooler.settings_of_a_client();
    let error = back_up(&Protection::Plain.repository(&folder), &pooler.settings(), 15, AuthUsers::Full)
        .expect_err("a transaction pooler is refused");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", told(&error));
    assert_none(&pooler.spoilt(&before));
    // Its port is not the usual one of a transaction pooler, so nobody knows that of a session pooler.
    assert!(told(&error).contains("session pooler"), "{}", told(&error));
}

/// How the key from the profiles to the accounts stands: valid, not valid, or not there.
fn key_to_accounts(project: &Project) -> String {
    project.value(
        "SELECT string_agg(CASE WHEN convalidated THEN 'valid' ELSE 'not valid' END, ', ') FROM pg_constraint \
         WHERE conrelid = 'public.profiles'::regclass AND confrelid = 'auth.users'::regclass",
    )
}

#[test]
fn keys_to_accounts_that_a_backup_does_not_carry_are_made_as_asked() {
    let journey = Journey::carrying(AuthUsers::None, Profile::New, Era::Apart);
    let there = Project::new(Profile::New, Era::Apart);
    let before = witness::dump(&there.server, SUPERUSER);
    let error =
        journey.restore_with(there.settings(), false, DanglingKeys::Refuse).expect_err("nothing was chosen");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", told(&error));
    assert!(told(&error).contains("profiles_id_fkey"), "{}", told(&error));
    assert_none(&witness::changed(&before, &witness::dump(&there.server, SUPERUSER)));
    for (choice, key) in [(DanglingKeys::NotValid, "not valid"), (DanglingKeys::LeaveOut, "")] {
        let there = Project::new(Profile::New, Era::Apart);
        let receipt = journey
            .restore_with(there.settings(), false, choice)
            .unwrap_or_else(|error| panic!("{choice:?}: {}", told(&error)));
        assert_eq!(key_to_accounts(&there), key, "{choice:?}: {:#?}", receipt.remarks);
        assert_eq!(there.value("SELECT count(*)::text FROM public.profiles"), "4");
        assert!(
            receipt.remarks.iter().any(|remark| remark.contains("profiles_id_fkey")),
            "{choice:?}: {:#?}",
            receipt.remarks
        );
        let tried = receipt.remarks.iter().any(|remark| remark.contains("violates foreign key"));
        assert!(!tried, "{choice:?}: {:#?}", receipt.remarks);
    }
    // The accounts are there: the same project, say.
    let there = Project::in_use(Profile::New, Era::Apart);
    there.execute_as(SUPERUSER, "UPDATE cron.job SET active = false");
    let receipt = journey
        .restore_with(there.settings(), true, DanglingKeys::Validate)
        .unwrap_or_else(|error| panic!("validate: {}", told(&error)));
    assert_eq!(key_to_accounts(&there), "valid");
    assert!(
        receipt.remarks.iter().all(|remark| !remark.contains("profiles_id_fkey")),
        "{:#?}",
        receipt.remarks
    );
}

#[test]
fn accounts_without_what_they_sign_in_with_can_be_read_by_the_service() {
    let journey = Journey::carrying(AuthUsers::Metadata, Profile::New, Era::Apart);
    let there = Project::new(Profile::New, Era::Apart);
    journey.restore(there.settings(), false).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(there.value("SELECT count(*)::text FROM auth.users"), "4");
    assert_eq!(
        there.value(
            "SELECT count(*)::text FROM auth.users WHERE encrypted_password <> '' \
             OR confirmation_token IS NULL OR recovery_token IS NULL OR email_change_token_new IS NULL"
        ),
        "0"
    );
    assert_eq!(key_to_accounts(&there), "valid");
}

#[test]
fn an_account_that_is_there_and_differs_stays_and_is_told() {
    let journey = Journey::begin(Profile::New, Era::Apart);
    let there = Project::in_use(Profile::New, Era::Apart);
    there.execute_as(
        SUPERUSER,
        "UPDATE cron.job SET active = false; UPDATE auth.users SET raw_user_meta_data = '{}' WHERE email LIKE 'person1@%'",
    );
    let receipt = journey.restore(there.settings(), true).unwrap_or_else(|error| panic!("{}", told(&error)));
    let changed = "SELECT raw_user_meta_data::text FROM auth.users WHERE email LIKE 'person1@%'";
    assert_eq!(there.value(changed), "{}");
    let words = "1 of 4 rows of table auth.users were there with other contents";
    assert!(receipt.remarks.iter().any(|remark| remark.contains(words)), "{:#?}", receipt.remarks);
}

/// An account of the target with the address of one of the backup's, under another key.
const NAMESAKE: &str = "INSERT INTO auth.users (id, email, is_sso_user, is_anonymous) \
                        VALUES ('90000000-0000-4000-8000-000000000001', 'person1@example.com', false, false)";

#[test]
fn an_account_whose_address_another_has_ends_a_replacement() {
    let journey = Journey::begin(Profile::New, Era::Apart);
    let there = Project::in_use(Profile::New, Era::Apart);
    there.execute_as(
        SUPERUSER,
        &format!(
            "UPDATE cron.job SET active = false; SET session_replication_role = replica; \
             DELETE FROM auth.users WHERE email LIKE 'person1@%'; {NAMESAKE}"
        ),
    );
    let before = witness::dump(&there.server, SUPERUSER);
    let error = journey.restore(there.settings(), true).expect_err("an address belongs to one account");
    assert!(told(&error).contains("auth.users"), "{}", told(&error));
    assert_none(&witness::changed(&before, &witness::dump(&there.server, SUPERUSER)));
}

#[test]
fn an_account_whose_address_another_has_leaves_no_rows_without_their_account() {
    let journey = Journey::begin(Profile::New, Era::Apart);
    let there = Project::new(Profile::New, Era::Apart);
    there.execute_as(SUPERUSER, NAMESAKE);
    let receipt = match journey.restore(there.settings(), false) {
        Ok(receipt) => receipt,
        Err(error) => panic!("{}", told(&error)),
    };
    assert!(receipt.remarks.iter().any(|remark| remark.contains("auth.users")), "{:#?}", receipt.remarks);
    let orphans = "SELECT count(*)::text FROM auth.identities i WHERE NOT EXISTS (SELECT FROM auth.users u WHERE u.id = i.user_id)";
    assert_eq!(there.value(orphans), "0", "{:#?}", receipt.remarks);
}

#[test]
fn what_the_dashboard_made_stays_where_the_backup_has_none_of_it() {
    let source = Project::in_use(Profile::New, Era::Apart);
    source.execute_as(SUPERUSER, "DROP EVENT TRIGGER ensure_rls; DROP FUNCTION public.rls_auto_enable()");
    let journey = Journey::of(source, AuthUsers::Full, Protection::Encrypted);
    let guard =
        "SELECT count(*)::text FROM pg_event_trigger WHERE evtname = 'ensure_rls' AND evtenabled = 'O'";
    let there = Project::new(Profile::New, Era::Apart);
    journey.restore(there.settings(), false).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(there.value(guard), "1");
    assert_eq!(there.value(SECURED), "f");
    let there = Project::in_use(Profile::New, Era::Apart);
    there.execute_as(SUPERUSER, "UPDATE cron.job SET active = false");
    journey.restore(there.settings(), true).unwrap_or_else(|error| panic!("in use: {}", told(&error)));
    assert_eq!(there.value(guard), "1");
}

/// Row-level security of a table that has none in the backup.
const SECURED: &str =
    "SELECT relrowsecurity::text::char FROM pg_class WHERE oid = 'public.members_only'::regclass";

#[test]
fn row_level_security_is_the_backups_where_event_triggers_cannot_be_silenced() {
    let journey = Journey::begin(Profile::New, Era::Apart);
    let there = Project::new(Profile::New, Era::Apart);
    there.execute_as(SUPERUSER, "REVOKE SET ON PARAMETER session_replication_role FROM postgres");
    assert!(there.refusal(CUSTOMER, "SET session_replication_role = replica").is_some());
    journey.restore(there.settings(), false).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(there.value(SECURED), "f");
    assert_eq!(there.value("SELECT count(*)::text FROM auth.identities"), "3");
    assert_eq!(there.value("SELECT count(*)::text FROM storage.objects"), "3");
}

#[test]
fn event_triggers_of_the_target_do_not_see_the_restore() {
    let journey = Journey::begin(Profile::New, Era::Apart);
    let there = Project::new(Profile::New, Era::Apart);
    there.execute_as(
        SUPERUSER,
        "CREATE TABLE extensions.seen (tag text); GRANT INSERT ON extensions.seen TO public; \
         CREATE FUNCTION extensions.see() RETURNS event_trigger LANGUAGE plpgsql AS $$ \
         BEGIN INSERT INTO extensions.seen VALUES (tg_tag); END $$; \
         CREATE EVENT TRIGGER see ON ddl_command_end EXECUTE FUNCTION extensions.see()",
    );
    there.execute_as(CUSTOMER, "CREATE TABLE public.tried (); DROP TABLE public.tried");
    let seen = "SELECT count(*)::text FROM extensions.seen";
    let before = there.value(seen);
    assert_ne!(before, "0");
    journey.restore(there.settings(), false).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(there.value(seen), before);
}

#[test]
fn event_triggers_that_a_project_in_use_lacks_are_told_and_do_not_end_the_restore() {
    let journey = Journey::begin(Profile::New, Era::Apart);
    let there = Project::in_use(Profile::New, Era::Apart);
    there.execute_as(SUPERUSER, "UPDATE cron.job SET active = false; DROP EVENT TRIGGER app_note_ddl");
    let receipt = journey.restore(there.settings(), true).unwrap_or_else(|error| panic!("{}", told(&error)));
    let told = receipt
        .remarks
        .iter()
        .any(|remark| remark.contains("a role that may can run: CREATE EVENT TRIGGER app_note_ddl"));
    assert!(told, "{:#?}", receipt.remarks);
}

/// Restores over a project in use that lacks something the customer may not make.
fn replaces_a_project_without(sql: &str) {
    let journey = Journey::begin(Profile::New, Era::Apart);
    let there = Project::in_use(Profile::New, Era::Apart);
    there.execute_as(SUPERUSER, &format!("UPDATE cron.job SET active = false; {sql}"));
    journey.restore(there.settings(), true).unwrap_or_else(|error| panic!("{}", told(&error)));
}

#[test]
fn a_policy_that_the_customer_may_not_make_does_not_end_a_replacement() {
    replaces_a_project_without("DROP POLICY \"own account\" ON auth.users");
}

#[test]
fn a_publication_that_the_customer_may_not_make_does_not_end_a_replacement() {
    replaces_a_project_without("DROP PUBLICATION app_everything");
}

#[test]
fn a_new_project_can_be_replaced() {
    let journey = Journey::begin(Profile::New, Era::Apart);
    let there = Project::new(Profile::New, Era::Apart);
    journey.restore(there.settings(), true).unwrap_or_else(|error| panic!("{}", told(&error)));
}

#[test]
fn a_secret_that_is_there_stays_and_is_told_where_it_differs() {
    let journey = Journey::begin(Profile::New, Era::Apart);
    let there = Project::in_use(Profile::New, Era::Apart);
    there.execute_as(
        SUPERUSER,
        "UPDATE cron.job SET active = false; DELETE FROM vault.secrets WHERE name = 'certificate'; \
         SELECT vault.update_secret(id, 'of the target') FROM vault.secrets WHERE name = 'payment key'",
    );
    let receipt = journey.restore(there.settings(), true).unwrap_or_else(|error| panic!("{}", told(&error)));
    let secrets = there.value(
        "SELECT string_agg(concat(name, '=', decrypted_secret), '; ' ORDER BY name) FROM vault.decrypted_secrets",
    );
    assert_eq!(secrets, "certificate=two\nlines; payment key=of the target; =nameless");
    let of_vault: Vec<&String> = receipt.remarks.iter().filter(|remark| remark.contains("vault")).collect();
    assert!(of_vault.len() == 1 && of_vault[0].contains("payment key"), "{of_vault:#?}");
    let said = format!("{receipt:?}");
    assert!(!said.contains("s3cr3t") && !said.contains("of the target"), "a receipt tells no secret");
}

#[test]
fn secrets_are_carried_into_an_encrypted_repository_only() {
    let source = Project::in_use(Profile::New, Era::Apart);
    let folder = tempfile::tempdir().expect("a folder");
    for (protection, count) in [(Protection::Plain, 0), (Protection::Encrypted, 3)] {
        let folder = folder.path().join(format!("{protection:?}"));
        std::fs::create_dir(&folder).expect("a folder");
        let folder = tempfile::tempdir_in(&folder).expect("a folder");
        let repository = protection.repository(&folder);
        let major = source.server.binaries().major();
        let report = back_up(&repository, &source.settings(), major, AuthUsers::Full)
            .unwrap_or_else(|error| panic!("{}", told(&error)));
        let catalog = repository.catalog(&repository.manifest(&report.header).expect("a manifest"));
        assert_eq!(catalog.expect("a catalog").secrets.len(), count, "{protection:?}");
        let left = report.not_carried.iter().any(|item| item.what == "3 secrets of the vault");
        assert_eq!(left, protection == Protection::Plain, "{:#?}", report.not_carried);
    }
}

#[test]
fn a_job_that_was_changed_stays() {
    let journey = Journey::begin(Profile::New, Era::Apart);
    let there = Project::in_use(Profile::New, Era::Apart);
    there.execute_as(SUPERUSER, "UPDATE cron.job SET active = false, schedule = '1 1 1 1 1' WHERE jobname = 'nightly'; UPDATE cron.job SET active = true WHERE jobname = 'paused'");
    journey.restore(there.settings(), true).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(there.value("SELECT count(*)::text FROM cron.job"), "3");
    assert_eq!(there.value("SELECT string_agg(jobname || ' ' || schedule || ' ' || active, ', ' ORDER BY jobname) FROM cron.job WHERE jobname IN ('nightly', 'paused')"), "nightly 1 1 1 1 1 false, paused 0 4 * * 0 true");
}

/// Restores into a new project whose service's publication has other options, and gives those it has then.
fn options_of_the_services_publication(options: &str) -> String {
    let journey = Journey::begin(Profile::New, Era::Apart);
    let there = Project::new(Profile::New, Era::Apart);
    there.execute_as(SUPERUSER, &format!("ALTER PUBLICATION supabase_realtime SET ({options})"));
    journey.restore(there.settings(), false).unwrap_or_else(|error| panic!("{}", told(&error)));
    there.value(
        "SELECT pubdelete || ' ' || pubviaroot FROM pg_publication WHERE pubname = 'supabase_realtime'",
    )
}

#[test]
fn the_services_publication_publishes_what_the_backups_does() {
    assert_eq!(options_of_the_services_publication("publish = 'insert'"), "true false");
}

#[test]
fn the_services_publication_speaks_of_partitions_as_the_backups_does() {
    assert_eq!(options_of_the_services_publication("publish_via_partition_root = true"), "true false");
}
