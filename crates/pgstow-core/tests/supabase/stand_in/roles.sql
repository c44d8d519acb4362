-- The roles of a hosted project. Run by supabase_admin, the bootstrap superuser.

CREATE ROLE postgres NOSUPERUSER CREATEDB CREATEROLE LOGIN REPLICATION BYPASSRLS;
ALTER DATABASE postgres OWNER TO postgres;
ALTER ROLE postgres SET search_path = "$user", public, extensions;
ALTER ROLE supabase_admin SET search_path = "$user", public, auth, extensions;

CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service_role NOLOGIN BYPASSRLS;
ALTER ROLE anon SET statement_timeout = '3s';
ALTER ROLE authenticated SET statement_timeout = '8s';

CREATE ROLE authenticator LOGIN NOINHERIT;
ALTER ROLE authenticator SET statement_timeout = '8s';
ALTER ROLE authenticator SET lock_timeout = '8s';
GRANT anon, authenticated, service_role TO authenticator;

CREATE ROLE supabase_auth_admin LOGIN NOINHERIT CREATEROLE;
ALTER ROLE supabase_auth_admin SET search_path = auth;
ALTER ROLE supabase_auth_admin SET idle_in_transaction_session_timeout = 60000;
CREATE ROLE supabase_storage_admin LOGIN NOINHERIT CREATEROLE;
ALTER ROLE supabase_storage_admin SET search_path = storage;
GRANT authenticator TO supabase_storage_admin;
CREATE ROLE supabase_realtime_admin NOLOGIN NOINHERIT;
CREATE ROLE supabase_functions_admin LOGIN NOINHERIT CREATEROLE;
ALTER ROLE supabase_functions_admin SET search_path = supabase_functions;
CREATE ROLE supabase_replication_admin LOGIN REPLICATION;
CREATE ROLE supabase_etl_admin LOGIN REPLICATION;
CREATE ROLE supabase_read_only_user LOGIN BYPASSRLS;
CREATE ROLE dashboard_user NOLOGIN CREATEDB CREATEROLE REPLICATION;
CREATE ROLE pgbouncer LOGIN;
CREATE ROLE pgsodium_keyiduser NOLOGIN;
CREATE ROLE pgsodium_keyholder NOLOGIN;
CREATE ROLE pgtle_admin NOLOGIN;
CREATE ROLE cli_login_postgres LOGIN NOINHERIT VALID UNTIL '2026-01-01 00:00:00+00';
GRANT pg_read_all_data TO supabase_read_only_user, supabase_etl_admin;
GRANT postgres TO cli_login_postgres;

-- From 16 on the platform grants these with ADMIN; before, CREATEROLE is enough.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['anon', 'authenticated', 'service_role', 'pg_monitor', 'pg_read_all_data',
                                'pg_signal_backend'] LOOP
        EXECUTE format('GRANT %I TO postgres %s', role,
                       CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'WITH ADMIN OPTION' END);
    END LOOP;
    -- What a module of the platform allows on a hosted server. 14 and older know no such privilege.
    IF current_setting('server_version_num')::int >= 150000 THEN
        EXECUTE 'GRANT SET ON PARAMETER session_replication_role TO postgres';
    END IF;
END $$;
GRANT ALL ON DATABASE postgres TO dashboard_user;
