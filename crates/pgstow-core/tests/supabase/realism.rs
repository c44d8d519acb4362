//! The stand-in allows and denies what a hosted project does.

use pgstow_core::platform::{AuthUsers, supabase};

use crate::stand_in::{CUSTOMER, Era, KINDS, Profile, Project, SUPERUSER};

/// What a hosted project denies to `postgres`.
const DENIED: [&str; 17] = [
    "ALTER TABLE auth.users ADD mine integer",
    "ALTER TABLE auth.users DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE storage.objects DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE auth.users DISABLE TRIGGER ALL",
    "COMMENT ON TRIGGER on_auth_user_created ON auth.users IS 'c'",
    "ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin IN SCHEMA public GRANT SELECT ON TABLES TO anon",
    "COMMENT ON EXTENSION pgcrypto IS 'c'",
    "INSERT INTO auth.schema_migrations VALUES ('1')",
    "INSERT INTO storage.migrations VALUES (1, 'a', 'b')",
    "INSERT INTO vault.secrets (secret) VALUES ('a')",
    "UPDATE cron.job SET active = false",
    "INSERT INTO cron.job (schedule, command) VALUES ('* * * * *', 'SELECT 1')",
    "ALTER DATABASE postgres SET app.mine = 'a'",
    "CREATE ROLE mine SUPERUSER",
    "DELETE FROM storage.objects",
    // The platform's gate opens these on a hosted server, and a stock one has no such gate.
    "CREATE POLICY mine ON storage.objects USING (true)",
    "CREATE EVENT TRIGGER mine ON sql_drop EXECUTE FUNCTION app.quiet()",
];

/// What it allows.
const ALLOWED: [&str; 10] = [
    "SET session_replication_role = replica",
    "CREATE TRIGGER mine AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION public.handle_new_user()",
    "DELETE FROM auth.users WHERE is_anonymous",
    "SET storage.allow_delete_query = 'true'; DELETE FROM storage.objects",
    "SELECT vault.create_secret('value', 'another')",
    "SELECT cron.schedule('another', '* * * * *', 'SELECT 1'); SELECT cron.alter_job(1, active => false)",
    "ALTER PUBLICATION supabase_realtime SET TABLE public.profiles",
    "CREATE EXTENSION pg_trgm WITH SCHEMA extensions",
    "CREATE TABLE public.mine (account uuid REFERENCES auth.users); \
     ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM anon",
    "SELECT decrypted_secret FROM vault.decrypted_secrets; SELECT * FROM auth.schema_migrations",
];

fn postgres_may_do_what_a_hosted_project_lets_it(major: u32) {
    let project = Project::on(major, Profile::New, Era::Apart).filled();
    for statement in DENIED {
        let refused = project.refusal(CUSTOMER, statement);
        let code = refused.as_ref().and_then(|error| error.code());
        assert_eq!(code, Some("42501"), "PostgreSQL {major}: {statement}: {refused:?}");
    }
    for statement in ALLOWED {
        let refused = project.refusal(CUSTOMER, statement);
        assert!(refused.is_none(), "PostgreSQL {major}: {statement}: {refused:?}");
    }
}

#[test]
fn postgres_may_do_what_a_hosted_project_lets_it_on_15() {
    postgres_may_do_what_a_hosted_project_lets_it(15);
}

#[test]
fn postgres_may_do_what_a_hosted_project_lets_it_on_17() {
    postgres_may_do_what_a_hosted_project_lets_it(17);
}

#[test]
fn profiles_and_eras_differ_in_what_they_are_about() {
    for (profile, era) in KINDS {
        let project = Project::new(profile, era);
        let owner =
            project.value("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'postgres'");
        assert_eq!(owner, CUSTOMER);
        project.execute_as(CUSTOMER, "CREATE TABLE public.mine (x integer)");
        let open = project.value("SELECT has_table_privilege('anon', 'public.mine', 'INSERT')");
        assert_eq!(open == "t", profile == Profile::Old, "{profile:?}");
        let protected =
            project.value("SELECT relrowsecurity FROM pg_class WHERE oid = 'public.mine'::regclass");
        assert_eq!(protected, "t", "the dashboard's event trigger turns row-level security on");
        let altered = project.refusal(CUSTOMER, "ALTER TABLE storage.objects ADD mine integer");
        assert_eq!(altered.is_none(), era == Era::Member, "{era:?}: {altered:?}");
    }
}

#[test]
fn a_secret_cannot_be_read_in_another_project() {
    let source = Project::in_use(Profile::New, Era::Apart);
    let target = Project::new(Profile::New, Era::Apart);
    let readable = "SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = 'payment key'";
    assert_eq!(source.value(readable), "s3cr3t value");
    let secret = source.value("SELECT quote_literal(secret) FROM vault.secrets WHERE name = 'payment key'");
    let copy = format!("INSERT INTO vault.secrets (name, secret) VALUES ('payment key', {secret})");
    target.execute_as(SUPERUSER, &copy);
    let refused = target.refusal(SUPERUSER, readable).expect("it is refused");
    assert!(refused.to_string().contains("Wrong key"), "{refused}");
}

#[test]
fn rows_of_the_platforms_tables_are_carried_in_an_order_that_their_foreign_keys_allow() {
    let keys = "SELECT string_agg(format('%s|%s|%s|%s', n.nspname, c.relname, fn.nspname, fc.relname), ',') \
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
        JOIN pg_class fc ON fc.oid = k.confrelid JOIN pg_namespace fn ON fn.oid = fc.relnamespace \
        WHERE k.contype = 'f' AND n.nspname IN ('auth', 'storage') AND c.oid <> fc.oid";
    let keys = Project::new(Profile::New, Era::Apart).value(keys);
    let mut between_carried = 0;
    for key in keys.split(',') {
        let names: Vec<&str> = key.split('|').collect();
        let place = |schema, table| supabase::rows(schema, table, AuthUsers::Full);
        if let (Ok(child), Ok(parent)) = (place(names[0], names[1]), place(names[2], names[3])) {
            assert!(parent < child, "{key}: the rows of the first are loaded before those of the second");
            between_carried += 1;
        }
    }
    assert!(between_carried >= 6, "{between_carried} foreign keys were looked at");
}
