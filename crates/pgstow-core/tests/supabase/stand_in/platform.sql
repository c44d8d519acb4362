-- Realtime, functions, event triggers and the publication of the platform. Run by supabase_admin.

CREATE TABLE realtime.schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp(0));
CREATE TABLE realtime.subscription (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription_id uuid NOT NULL,
    entity regclass NOT NULL,
    claims jsonb NOT NULL,
    created_at timestamp NOT NULL DEFAULT timezone('utc', now())
);
REVOKE ALL ON realtime.schema_migrations FROM postgres, dashboard_user;
GRANT SELECT ON realtime.schema_migrations TO postgres;
INSERT INTO realtime.schema_migrations VALUES (20211116024918, '2026-01-01 00:00:00');
CREATE TABLE realtime.messages (
    topic text NOT NULL,
    extension text NOT NULL,
    payload jsonb,
    event text,
    private boolean DEFAULT false,
    updated_at timestamp NOT NULL DEFAULT now(),
    inserted_at timestamp NOT NULL DEFAULT now(),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    PRIMARY KEY (id, inserted_at)
) PARTITION BY RANGE (inserted_at);
CREATE TABLE realtime.messages_2026_11_20 PARTITION OF realtime.messages
    FOR VALUES FROM ('2026-11-20') TO ('2026-11-21');
CREATE FUNCTION realtime.topic() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('realtime.topic', true), '')
$$;
ALTER TABLE realtime.messages ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON realtime.messages TO anon, authenticated, service_role;
ALTER TABLE realtime.messages OWNER TO supabase_realtime_admin;
ALTER FUNCTION realtime.topic() OWNER TO supabase_realtime_admin;

CREATE TABLE supabase_functions.migrations (version text PRIMARY KEY, inserted_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE supabase_functions.hooks (
    id bigserial PRIMARY KEY,
    hook_table_id integer NOT NULL,
    hook_name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    request_id bigint
);
INSERT INTO supabase_functions.migrations VALUES ('initial', '2026-01-01 00:00:00+00');
CREATE FUNCTION supabase_functions.http_request() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = 'supabase_functions' AS $$
BEGIN
    INSERT INTO supabase_functions.hooks (hook_table_id, hook_name) VALUES (TG_RELID, TG_NAME);
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION supabase_functions.http_request() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION supabase_functions.http_request() TO postgres, anon, authenticated, service_role;
ALTER TABLE supabase_functions.migrations OWNER TO supabase_functions_admin;
ALTER TABLE supabase_functions.hooks OWNER TO supabase_functions_admin;
ALTER FUNCTION supabase_functions.http_request() OWNER TO supabase_functions_admin;

CREATE PUBLICATION supabase_realtime WITH (publish = 'insert, update, delete, truncate');
ALTER PUBLICATION supabase_realtime OWNER TO postgres;
CREATE PUBLICATION supabase_realtime_messages_publication FOR TABLE realtime.messages;
COMMENT ON PUBLICATION supabase_realtime_messages_publication IS 'the platform''s own';

CREATE FUNCTION extensions.grant_pg_cron_access() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() made
                 JOIN pg_extension known ON made.objid = known.oid WHERE known.extname = 'pg_cron') THEN
        GRANT USAGE ON SCHEMA cron TO postgres WITH GRANT OPTION;
        GRANT ALL ON ALL FUNCTIONS IN SCHEMA cron TO postgres WITH GRANT OPTION;
        GRANT ALL ON cron.job_run_details TO postgres WITH GRANT OPTION;
        GRANT SELECT ON cron.job TO postgres WITH GRANT OPTION;
    END IF;
END $$;
CREATE EVENT TRIGGER issue_pg_cron_access ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION')
    EXECUTE FUNCTION extensions.grant_pg_cron_access();

CREATE FUNCTION extensions.grant_pg_net_access() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() made
                 JOIN pg_extension known ON made.objid = known.oid WHERE known.extname = 'pg_net') THEN
        GRANT USAGE ON SCHEMA net TO supabase_functions_admin, postgres, anon, authenticated, service_role;
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA net
           TO supabase_functions_admin, postgres, anon, authenticated, service_role;
    END IF;
END $$;
CREATE EVENT TRIGGER issue_pg_net_access ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION')
    EXECUTE FUNCTION extensions.grant_pg_net_access();

CREATE FUNCTION extensions.grant_pg_graphql_access() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() made
                WHERE made.object_identity LIKE 'graphql.resolve(%') THEN
        GRANT EXECUTE ON FUNCTION graphql.resolve TO postgres, anon, authenticated, service_role;
    END IF;
END $$;
CREATE EVENT TRIGGER issue_pg_graphql_access ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION')
    EXECUTE FUNCTION extensions.grant_pg_graphql_access();

CREATE FUNCTION extensions.set_graphql_placeholder() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() gone
                WHERE gone.object_type = 'extension' AND gone.object_identity = 'pg_graphql') THEN
        CREATE OR REPLACE FUNCTION graphql_public.graphql(
            "operationName" text DEFAULT NULL, query text DEFAULT NULL, variables jsonb DEFAULT NULL,
            extensions jsonb DEFAULT NULL
        ) RETURNS jsonb LANGUAGE sql AS 'SELECT ''{"errors": []}''::jsonb';
    END IF;
END $$;
CREATE EVENT TRIGGER issue_graphql_placeholder ON sql_drop WHEN TAG IN ('DROP EXTENSION')
    EXECUTE FUNCTION extensions.set_graphql_placeholder();

CREATE FUNCTION extensions.pgrst_ddl_watch() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() made
                WHERE made.schema_name IS DISTINCT FROM 'pg_temp') THEN
        NOTIFY pgrst, 'reload schema';
    END IF;
END $$;
CREATE EVENT TRIGGER pgrst_ddl_watch ON ddl_command_end EXECUTE FUNCTION extensions.pgrst_ddl_watch();

CREATE FUNCTION extensions.pgrst_drop_watch() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() gone WHERE NOT gone.is_temporary) THEN
        NOTIFY pgrst, 'reload schema';
    END IF;
END $$;
CREATE EVENT TRIGGER pgrst_drop_watch ON sql_drop EXECUTE FUNCTION extensions.pgrst_drop_watch();

-- The dashboard makes this one as postgres; a module of the platform lets it. Here postgres is a
-- superuser for a moment.
ALTER ROLE postgres SUPERUSER;
SET ROLE postgres;
CREATE FUNCTION public.rls_auto_enable() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    made text;
BEGIN
    FOR made IN SELECT object_identity FROM pg_event_trigger_ddl_commands()
                 WHERE schema_name = 'public' AND object_type LIKE '%table' LOOP
        BEGIN
            EXECUTE 'ALTER TABLE ' || made || ' ENABLE ROW LEVEL SECURITY';
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE LOG 'row-level security of % stays as it is', made;
        END;
    END LOOP;
END $$;
CREATE EVENT TRIGGER ensure_rls ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')
    EXECUTE FUNCTION public.rls_auto_enable();
RESET ROLE;
ALTER ROLE postgres NOSUPERUSER;
