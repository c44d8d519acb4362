//! What the catalog and the schema archive hold.

use pgstow_core::inventory::ObjectKind;
use pgstow_core::inventory::catalog::CronJob;
use pgstow_core::platform::{AuthUsers, Hosting, Platform};
use pgstow_core::postgres::Connection;
use pgstow_core::postgres::catalog::{hosting, inventory};
use pgstow_core::postgres::session::{self, Purpose};
use pgstow_core::repository::format::header::Header;

use crate::ground::Ground;

fn filled(ground: &Ground, header: &Header, table: &str) -> Vec<String> {
    let catalog = ground.catalog(header);
    let found = catalog.filled.into_iter().find(|filled| filled.table == table);
    found.unwrap_or_else(|| panic!("{table} is not listed")).columns
}

fn internal_schemas_leave_no_trace(major: u32) {
    let ground = Ground::new(major);
    let report = ground.back_up(AuthUsers::Metadata);
    let catalog = ground.catalog(&report.header);
    assert_eq!(catalog.hosting.platform, Platform::Supabase);
    let mut found: Vec<String> = Vec::new();
    for name in ["realtime", "cron", "vault", "extensions", "_odd"] {
        let items = catalog.inventory.items.iter();
        found.extend(items.filter(|item| item.name.contains(name)).map(|item| item.name.clone()));
        let held = catalog.inventory.privileges.iter();
        found.extend(held.filter(|held| held.name.contains(name)).map(|held| format!("on {}", held.name)));
        let views = catalog.view_options.iter();
        found.extend(views.filter(|view| view.view.contains(name)).map(|view| view.view.clone()));
    }
    assert_eq!(found, ["supabase_realtime"], "PostgreSQL {major}");
    let archive = ground.file(&report.header, "schema.sql").unwrap();
    let created: Vec<&str> = archive
        .lines()
        .filter(|line| line.starts_with("CREATE SCHEMA") || line.starts_with("CREATE TABLE"))
        .collect();
    let expected = [
        "auth.identities",
        "auth.mfa_factors",
        "auth.refresh_tokens",
        "auth.sessions",
        "auth.users",
        "public.profiles",
        "storage.buckets",
        "storage.objects",
    ]
    .map(|table| format!("CREATE TABLE {table} ("));
    let mut all = vec!["CREATE SCHEMA auth;".to_owned(), "CREATE SCHEMA storage;".to_owned()];
    all.extend(expected);
    assert_eq!(created, all, "PostgreSQL {major}");
}

#[test]
fn internal_schemas_leave_no_trace_on_15() {
    internal_schemas_leave_no_trace(15);
}

#[test]
fn internal_schemas_leave_no_trace_on_17() {
    internal_schemas_leave_no_trace(17);
}

#[test]
fn the_services_event_triggers_publications_and_default_privileges_are_not_the_users() {
    let ground = Ground::new(15);
    let mut connection = ground.connect();
    session::pin(&mut connection, Purpose::Read, "UTF8").unwrap();
    let names = |connection: &mut Connection, hosting: &Hosting| {
        let items = inventory::read(connection, hosting).unwrap().items;
        let kinds = [
            ObjectKind::Publication,
            ObjectKind::EventTrigger,
            ObjectKind::Comment,
            ObjectKind::DefaultPrivileges,
        ];
        let items = items.into_iter().filter(|item| kinds.contains(&item.kind));
        items.map(|item| item.name).collect::<Vec<_>>()
    };
    let hosting = hosting::read(&mut connection).unwrap();
    assert_eq!(
        names(&mut connection, &hosting),
        ["supabase_realtime", "mine", "for role postgres in schema public on tables"]
    );
    let all = names(&mut connection, &Hosting::default());
    for name in [
        "platform_feed",
        "ddl_watch",
        "event trigger ddl_watch",
        "schema realtime",
        "function realtime.topic()",
        "table column realtime.messages.topic",
        "for role postgres in schema extensions on tables",
        "for role supabase_admin in schema public on tables",
    ] {
        assert!(all.iter().any(|found| found == name), "{name}: {all:#?}");
    }
}

#[test]
fn the_users_triggers_and_policies_on_the_platforms_tables_are_there() {
    let ground = Ground::new(15);
    let report = ground.back_up(AuthUsers::None);
    let catalog = ground.catalog(&report.header);
    let archive = ground.file(&report.header, "schema.sql").unwrap();
    for (kind, name, statement) in [
        (ObjectKind::Trigger, "auth.users.on_user", "CREATE TRIGGER on_user"),
        (ObjectKind::Policy, "storage.objects.\"own files\"", "CREATE POLICY \"own files\""),
    ] {
        assert!(catalog.inventory.items.iter().any(|item| item.kind == kind && item.name == name), "{name}");
        assert!(archive.contains(statement), "{statement}");
    }
    let policies: Vec<&str> = catalog.policies.iter().map(|policy| policy.statement.as_str()).collect();
    assert_eq!(
        policies,
        [
            "CREATE POLICY anybody ON realtime.messages WITH CHECK ((topic <> 'it''s'::text));",
            "CREATE POLICY \"own topic\" ON realtime.messages AS RESTRICTIVE FOR SELECT TO authenticated, postgres \
             USING ((topic = realtime.topic()));",
        ]
    );
    // The statements make what they were made of.
    ground.execute(
        "CREATE TABLE before AS SELECT policyname, permissive, roles, cmd, qual, with_check
                      FROM pg_policies WHERE schemaname = 'realtime';
                    DROP POLICY anybody ON realtime.messages; DROP POLICY \"own topic\" ON realtime.messages",
    );
    ground.execute(&policies.concat());
    let mut connection = ground.connect();
    let same = connection
        .query("SELECT count(*) FROM (TABLE before INTERSECT SELECT policyname, permissive, roles, cmd, qual, with_check
                  FROM pg_policies WHERE schemaname = 'realtime') x")
        .unwrap();
    assert_eq!(same.only().unwrap().get::<u64>(0).unwrap(), 2);
}

#[test]
fn jobs_of_this_role_and_database_are_in_the_catalog() {
    let ground = Ground::new(15);
    let report = ground.back_up(AuthUsers::Metadata);
    let job = |name: Option<&str>, schedule: &str, command: &str, active| CronJob {
        name: name.map(str::to_owned),
        schedule: schedule.into(),
        command: command.into(),
        active,
    };
    assert_eq!(
        ground.catalog(&report.header).cron_jobs,
        [
            job(Some("tidy"), "0 3 * * *", "SELECT public.tidy()", true),
            job(None, "* * * * *", "SELECT 1", false)
        ]
    );
}

#[test]
fn a_table_that_only_looks_like_jobs_is_none() {
    let ground = Ground::new(15);
    ground.execute("ALTER TABLE cron.job DROP COLUMN username CASCADE");
    let report = ground.back_up(AuthUsers::Metadata);
    assert!(ground.catalog(&report.header).cron_jobs.is_empty());
    ground.execute("REVOKE SELECT ON cron.job, vault.secrets FROM postgres");
    let report = ground.back_up(AuthUsers::Metadata);
    let told: Vec<&str> = report.not_carried.iter().map(|item| item.what.as_str()).collect();
    assert_eq!(told[0], "secrets of the vault, if there are any");
}

#[test]
fn what_comes_from_rows_is_never_taken_over_with_the_definitions() {
    let ground = Ground::new(15);
    let first = ground.back_up(AuthUsers::Metadata);
    assert_eq!(filled(&ground, &first.header, "users"), ["id", "email", "raw_user_meta_data"]);
    assert_eq!(filled(&ground, &first.header, "objects"), ["id", "bucket_id", "name"]);
    let same = ground.back_up(AuthUsers::Metadata);
    assert!(same.reuse.definitions_reused, "{:?}", same.reuse.definitions_read);

    let user = "00000000-0000-4000-8000-000000000009";
    ground.execute(&format!("INSERT INTO auth.users (id, email) VALUES ('{user}', 'nine@example.com')"));
    let more = ground.back_up(AuthUsers::Metadata);
    assert!(more.reuse.definitions_reused, "{:?}", more.reuse.definitions_read);
    let text = ground.file(&more.header, "auth_users.sql").unwrap();
    assert!(text.contains("nine@example.com"), "{text}");

    ground.execute(&format!("UPDATE auth.users SET phone = '15550100' WHERE id = '{user}'"));
    let other = ground.back_up(AuthUsers::Metadata);
    assert!(!other.reuse.definitions_reused);
    assert_eq!(filled(&ground, &other.header, "users"), ["id", "email", "raw_user_meta_data", "phone"]);

    ground.execute("UPDATE cron.job SET active = false");
    let jobs = ground.back_up(AuthUsers::Metadata);
    assert!(ground.catalog(&jobs.header).cron_jobs.iter().all(|job| !job.active));

    let full = ground.back_up(AuthUsers::Full);
    let columns = filled(&ground, &full.header, "users");
    assert!(columns.contains(&"encrypted_password".to_owned()), "{columns:?}");
}
