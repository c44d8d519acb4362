\echo Use "CREATE EXTENSION pg_graphql" to load this file. \quit

CREATE FUNCTION graphql.resolve(
    query text, variables jsonb DEFAULT '{}', "operationName" text DEFAULT NULL, extensions jsonb DEFAULT NULL
) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"data": null}'::jsonb $$;

CREATE SEQUENCE graphql.seq_schema_version AS integer CYCLE;

CREATE FUNCTION graphql.increment_schema_version() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM pg_catalog.nextval('graphql.seq_schema_version');
END $$;

CREATE EVENT TRIGGER graphql_watch_ddl ON ddl_command_end EXECUTE FUNCTION graphql.increment_schema_version();
CREATE EVENT TRIGGER graphql_watch_drop ON sql_drop EXECUTE FUNCTION graphql.increment_schema_version();
