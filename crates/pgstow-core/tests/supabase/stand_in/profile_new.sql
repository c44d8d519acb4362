-- Newer projects: nothing in public is open to the API's roles unless somebody grants it.

DO $$
DECLARE
    grantor text;
    kind text;
BEGIN
    FOREACH grantor IN ARRAY ARRAY['postgres', 'supabase_admin'] LOOP
        FOREACH kind IN ARRAY ARRAY['TABLES', 'FUNCTIONS', 'SEQUENCES'] LOOP
            EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA public GRANT ALL ON %s TO postgres',
                           grantor, kind);
        END LOOP;
    END LOOP;
END $$;
