-- Before 2025: postgres is a member of the roles that own auth and storage.

GRANT supabase_auth_admin, supabase_storage_admin TO postgres;
GRANT CREATE ON SCHEMA auth, storage TO postgres;
GRANT ALL ON storage.migrations TO anon, authenticated, service_role, postgres;
