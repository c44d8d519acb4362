//! Each check finds nothing between equal projects, and reports one change of the target.

use std::collections::BTreeMap;

use pgstow_core::repository::format::receipt::Outcome;

use crate::checks::{Against, CHECKS, Examiner, Findings, compared, differences};
use crate::stand_in::{CUSTOMER, Era, Profile, Project, SUPERUSER};
use crate::witness::{self, Forced, Listener, TransactionPooler};

/// The title of a check, and changes that it has to report.
const CHANGES: [(&str, &[&str]); 32] = [
    (
        "privileges of relations",
        &[
            "GRANT INSERT ON public.members_only TO anon",
            "REVOKE SELECT ON public.members_only FROM authenticated",
            "GRANT SELECT ON app.totals TO authenticated WITH GRANT OPTION",
            "GRANT SELECT ON public.front_page TO PUBLIC",
            "GRANT USAGE ON SEQUENCE public.notes_id_seq TO app_reader",
        ],
    ),
    (
        "privileges of columns, functions, types and schemas",
        &[
            "GRANT SELECT (body) ON public.notes TO anon",
            "REVOKE SELECT (title) ON public.drafts FROM authenticated",
            "GRANT EXECUTE ON FUNCTION public.server_only() TO anon",
            "GRANT EXECUTE ON FUNCTION app.owned() TO PUBLIC",
            "GRANT USAGE ON TYPE public.mood TO PUBLIC",
            "GRANT CREATE ON SCHEMA app TO anon",
        ],
    ),
    ("schema public", &["REVOKE USAGE ON SCHEMA public FROM anon, PUBLIC"]),
    (
        "schema public stays",
        &["ALTER SCHEMA public OWNER TO postgres", "GRANT CREATE ON SCHEMA public TO anon"],
    ),
    (
        "default privileges",
        &[
            "ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT SELECT ON TABLES TO app_reader",
            "ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        ],
    ),
    (
        "default privileges of the platform stay",
        &[
            "ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin IN SCHEMA public REVOKE ALL ON TABLES FROM postgres",
        ],
    ),
    (
        "publications",
        &[
            "ALTER PUBLICATION supabase_realtime DROP TABLE public.notes",
            "ALTER PUBLICATION app_changes SET TABLE public.notes (id, title), app.customers",
            "ALTER PUBLICATION app_changes SET TABLE public.notes (id, title, published) WHERE (NOT published), app.customers",
            "ALTER PUBLICATION app_orders SET (publish_via_partition_root = false)",
            "ALTER PUBLICATION app_orders SET (publish = 'insert')",
            "ALTER PUBLICATION app_schema DROP TABLES IN SCHEMA app",
            "DROP PUBLICATION app_everything",
        ],
    ),
    (
        "row-level security",
        &[
            "ALTER TABLE public.members_only ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE public.ledger NO FORCE ROW LEVEL SECURITY",
        ],
    ),
    (
        "what turns row-level security on stays",
        &["DROP EVENT TRIGGER ensure_rls", "ALTER EVENT TRIGGER ensure_rls DISABLE"],
    ),
    (
        "policies",
        &[
            "DROP POLICY \"own files\" ON storage.objects",
            "ALTER POLICY \"own notes\" ON public.notes TO PUBLIC",
            "ALTER POLICY \"hear messages\" ON realtime.messages USING (true)",
        ],
    ),
    (
        "views",
        &[
            "CREATE OR REPLACE VIEW public.front_page AS SELECT id, title FROM public.notes WHERE published",
            "ALTER VIEW public.drafts RESET (check_option)",
        ],
    ),
    (
        "what views show to anon",
        &["ALTER VIEW public.front_page SET (security_invoker = false)", "DELETE FROM public.notes"],
    ),
    (
        "triggers",
        &[
            "DROP TRIGGER on_auth_user_created ON auth.users",
            "ALTER TABLE auth.users DISABLE TRIGGER on_auth_user_deleted",
            "ALTER TABLE public.notes ENABLE TRIGGER notes_quiet",
            "DROP TRIGGER on_upload ON storage.objects",
        ],
    ),
    (
        "accounts",
        &[
            "UPDATE auth.users SET encrypted_password = 'other' WHERE email = 'person1@example.com'",
            "DELETE FROM auth.identities WHERE email = 'person2@example.com'",
            "DELETE FROM auth.oauth_consents",
        ],
    ),
    (
        "rows of tables",
        &[
            "UPDATE public.profiles SET mood = 'busy' WHERE username = 'Person1'",
            "INSERT INTO public.ledger SELECT * FROM (VALUES (77, 1)) again",
            "TRUNCATE supabase_migrations.schema_migrations",
        ],
    ),
    (
        "sign-ins under way and levels stay",
        &["DELETE FROM auth.one_time_tokens", "DELETE FROM auth.schema_migrations"],
    ),
    (
        "foreign keys",
        &[
            "ALTER TABLE public.profiles DROP CONSTRAINT profiles_id_fkey",
            "UPDATE app.orders SET customer = 1 WHERE customer = 99; \
             ALTER TABLE app.orders_2026_11 VALIDATE CONSTRAINT orders_customer",
            "SET LOCAL session_replication_role = replica; DELETE FROM app.customers WHERE id = 1; \
             SET LOCAL session_replication_role = origin",
        ],
    ),
    (
        "sequences",
        &[
            "ALTER SEQUENCE public.notes_id_seq RESTART 3",
            "ALTER SEQUENCE app.unused_numbers RESTART 71",
            "ALTER SEQUENCE app.order_numbers NO CYCLE",
        ],
    ),
    ("the next insert", &["ALTER SEQUENCE public.notes_id_seq RESTART 100"]),
    ("extensions", &["ALTER EXTENSION hstore SET SCHEMA public", "DROP EXTENSION pg_cron"]),
    (
        "functions",
        &[
            "CREATE OR REPLACE FUNCTION public.handle_user_gone() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN  RETURN OLD; END'",
            "ALTER FUNCTION public.is_member(uuid) RESET search_path",
            "ALTER FUNCTION public.is_member(uuid) SECURITY INVOKER",
            "ALTER FUNCTION public.open_call(integer, text) COST 8",
        ],
    ),
    ("event triggers", &["DROP EVENT TRIGGER app_note_ddl", "ALTER EVENT TRIGGER app_quiet ENABLE"]),
    (
        "event triggers of the platform stay",
        &["DROP EVENT TRIGGER pgrst_ddl_watch", "ALTER EVENT TRIGGER issue_pg_cron_access DISABLE"],
    ),
    (
        "secrets",
        &[
            "DELETE FROM vault.secrets WHERE name = 'certificate'",
            "SELECT vault.update_secret(id, 'another value') FROM vault.secrets WHERE name = 'payment key'",
        ],
    ),
    (
        "jobs",
        &["DELETE FROM cron.job WHERE jobname = 'nightly'", "UPDATE cron.job SET schedule = '1 * * * *'"],
    ),
    ("jobs are inactive", &["UPDATE cron.job SET active = true WHERE jobname = 'nightly'"]),
    (
        "buckets and the list of files",
        &[
            "UPDATE storage.buckets SET public = false",
            "SET LOCAL storage.allow_delete_query = 'true'; DELETE FROM storage.objects WHERE bucket_id = 'private'",
            "UPDATE storage.objects SET metadata = '{}'",
        ],
    ),
    (
        "definitions and comments",
        &[
            "COMMENT ON COLUMN public.profiles.username IS NULL",
            "COMMENT ON POLICY \"own notes\" ON public.notes IS 'other'",
            "ALTER TABLE public.notes REPLICA IDENTITY DEFAULT",
            "ALTER TABLE app.customers REPLICA IDENTITY FULL",
            "ALTER TABLE app.scratch SET LOGGED",
            "ALTER TABLE public.notes ALTER body SET STATISTICS 100",
            "ALTER STATISTICS app.orders_pairs SET STATISTICS 100",
            "ALTER TABLE public.notes ALTER id SET GENERATED BY DEFAULT",
            "ALTER TABLE public.notes ALTER shout DROP EXPRESSION",
            "ALTER TABLE public.notes ALTER body TYPE text COLLATE pg_catalog.\"C\"",
            "DROP INDEX public.notes_by_author",
            "ALTER DOMAIN app.price DROP CONSTRAINT price_check",
        ],
    ),
    (
        "materialized views and large objects",
        &[
            "REFRESH MATERIALIZED VIEW app.not_yet",
            "DELETE FROM app.orders; REFRESH MATERIALIZED VIEW app.totals",
            "SELECT lo_put(4711, 0, 'x')",
            "GRANT SELECT ON LARGE OBJECT 4711 TO anon",
            "SELECT lo_unlink(4712)",
        ],
    ),
    (
        "roles",
        &[
            "ALTER ROLE app_reader CREATEDB",
            "REVOKE authenticated FROM app_reader",
            "ALTER ROLE app_reader RESET statement_timeout",
            "ALTER DATABASE postgres RESET work_mem",
            "ALTER ROLE app_reader IN DATABASE postgres RESET work_mem",
        ],
    ),
    (
        "owners",
        &[
            "ALTER TABLE app.ownership OWNER TO postgres",
            "ALTER TABLE public.legacy OWNER TO postgres",
            "ALTER FUNCTION app.owned() OWNER TO postgres",
            "ALTER SCHEMA app OWNER TO app_owner",
        ],
    ),
    ("schemas", &["DROP SCHEMA supabase_migrations CASCADE", "CREATE SCHEMA more"]),
];

fn equal_projects_differ_in_nothing(major: u32) {
    let make = || Project::on(major, Profile::Old, Era::Member).filled();
    let (source, target) = (make(), make());
    target.execute_as(SUPERUSER, "UPDATE cron.job SET active = false");
    let findings = Findings::of(&source.settings_as(SUPERUSER));
    let there = Findings::of(&target.settings_as(SUPERUSER));
    assert_eq!(differences(&findings, &findings, &there), BTreeMap::new());
}

#[test]
fn equal_projects_differ_in_nothing_on_15() {
    equal_projects_differ_in_nothing(15);
}

#[test]
fn equal_projects_differ_in_nothing_on_17() {
    equal_projects_differ_in_nothing(17);
}

#[test]
fn every_check_reports_a_change() {
    let project = Project::in_use(Profile::New, Era::Apart);
    let mut examiner = Examiner::new(&project.settings_as(SUPERUSER));
    examiner.execute("UPDATE cron.job SET active = false");
    for check in &CHECKS {
        let (_, changes) =
            CHANGES.iter().find(|(title, _)| *title == check.title).expect("a change for each check");
        let before = examiner.facts(check);
        assert_eq!(before.is_empty(), check.against == Against::Nothing, "{}", check.title);
        for change in *changes {
            examiner.execute(&format!("SAVEPOINT unchanged; {change}"));
            let after = examiner.facts(check);
            examiner.execute("ROLLBACK TO unchanged");
            assert_ne!(
                compared(check.title, &before, &after),
                Vec::<String>::new(),
                "{}: {change}",
                check.title
            );
        }
        assert_eq!(examiner.facts(check), before, "{}: something stayed", check.title);
    }
}

#[test]
fn the_numbers_are_those_of_the_list() {
    let mut numbers: Vec<u8> = CHECKS.iter().map(|check| check.number).collect();
    assert!(numbers.is_sorted());
    numbers.dedup();
    assert_eq!(numbers, (1..=20).collect::<Vec<u8>>());
}

#[test]
fn a_listener_misses_what_it_was_not_told() {
    let project = Project::new(Profile::New, Era::Apart);
    let deaf = Listener::start(&project.server, SUPERUSER);
    assert_eq!(deaf.missing(), ["nobody told pgrst: reload schema", "nobody told pgrst: reload config"]);
    let told = Listener::start(&project.server, SUPERUSER);
    project.execute_as(CUSTOMER, "NOTIFY pgrst, 'reload schema'; NOTIFY pgrst, 'reload config'");
    assert_eq!(told.missing(), Vec::<String>::new());
}

#[test]
fn a_setting_left_in_a_pooled_process_is_noticed() {
    let project = Project::new(Profile::New, Era::Apart);
    let pooler = TransactionPooler::start(&project.server);
    let before = pooler.settings_of_a_client();
    assert_eq!(pooler.spoilt(&before), Vec::<String>::new());
    let mut careless = pgstow_core::postgres::Connection::open(
        &pooler.settings(),
        &pgstow_core::interrupt::Interrupt::new(),
    )
    .expect("a client");
    careless.query("SELECT pg_catalog.set_config('search_path', '', false)").expect("a setting");
    drop(careless);
    let spoilt = pooler.spoilt(&before);
    assert!(spoilt.iter().any(|one| one.contains("missing: search_path")), "{spoilt:?}");
}

#[test]
fn a_dump_shows_a_change() {
    let project = Project::in_use(Profile::New, Era::Apart);
    let before = witness::dump(&project.server, SUPERUSER);
    assert_eq!(witness::changed(&before, &witness::dump(&project.server, SUPERUSER)), Vec::<String>::new());
    for change in [
        "INSERT INTO public.members_only VALUES (3, 'three')",
        "GRANT SELECT ON public.ledger TO anon",
        "ALTER ROLE app_reader CONNECTION LIMIT 8",
    ] {
        let before = witness::dump(&project.server, SUPERUSER);
        project.execute_as(SUPERUSER, change);
        let changed = witness::changed(&before, &witness::dump(&project.server, SUPERUSER));
        assert!(!changed.is_empty(), "{change}");
    }
}

#[test]
fn a_difference_that_nobody_tells_is_reported() {
    let forced = [Forced { number: 7, difference: "policy \"own files\"", remark: "own files" }];
    let differences =
        BTreeMap::from([(7, vec!["policies: missing: policy \"own files\" on storage.objects".to_owned()])]);
    let remark = vec!["policy own files on storage.objects: must be owner".to_owned()];
    let none: Vec<String> = Vec::new();
    assert_eq!(witness::untold(&differences, &forced, Outcome::Differs, &remark, &[]), none);
    assert_eq!(witness::untold(&BTreeMap::new(), &forced, Outcome::Equal, &[], &[]), none);
    assert_eq!(witness::untold(&differences, &forced, Outcome::Differs, &[], &remark), none);
    assert_eq!(witness::untold(&differences, &[], Outcome::Differs, &remark, &[]).len(), 1);
    assert_eq!(witness::untold(&differences, &forced, Outcome::Differs, &[], &[]).len(), 1);
    assert_eq!(witness::untold(&differences, &forced, Outcome::Equal, &remark, &[]).len(), 1);
    assert_eq!(witness::untold(&BTreeMap::new(), &forced, Outcome::Differs, &[], &[]).len(), 1);
    assert_eq!(witness::untold(&BTreeMap::new(), &forced, Outcome::Equal, &remark, &[]).len(), 1);
    assert_eq!(witness::bytes_are_told(&["storage: the files' bytes are not included".to_owned()]), none);
    assert_eq!(witness::bytes_are_told(&remark).len(), 1);
}
