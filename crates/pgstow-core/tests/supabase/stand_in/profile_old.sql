-- Older projects: whatever postgres or supabase_admin makes in public is open to the API's roles.

DO $$
DECLARE
    grantor text;
    kind text;
BEGIN
    FOREACH grantor IN ARRAY ARRAY['postgres', 'supabase_admin'] LOOP
        FOREACH kind IN ARRAY ARRAY['TABLES', 'FUNCTIONS', 'SEQUENCES'] LOOP
            EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA public GRANT ALL ON %s '
                           'TO postgres, anon, authenticated, service_role', grantor, kind);
        END LOOP;
    END LOOP;
END $$;
