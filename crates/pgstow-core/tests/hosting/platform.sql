-- A platform's part of a database: its roles, its schemas, and what they hold. Run by its superuser.

CREATE ROLE postgres LOGIN CREATEDB CREATEROLE BYPASSRLS;
CREATE ROLE authenticated;
CREATE ROLE supabase_auth_admin;
CREATE ROLE supabase_storage_admin;
CREATE ROLE supabase_realtime_admin;
ALTER DATABASE postgres OWNER TO postgres;

CREATE SCHEMA auth;
CREATE SCHEMA storage;
CREATE SCHEMA extensions AUTHORIZATION postgres;
CREATE SCHEMA cron;
CREATE SCHEMA vault;
CREATE SCHEMA realtime;
CREATE SCHEMA "_odd ""name.*";
GRANT USAGE, CREATE ON SCHEMA auth TO supabase_auth_admin;
GRANT USAGE ON SCHEMA auth, storage, cron, vault, realtime TO postgres;

CREATE TABLE auth.users (
    id uuid PRIMARY KEY,
    email text,
    encrypted_password text,
    confirmation_token text,
    raw_user_meta_data jsonb,
    phone text,
    confirmed boolean GENERATED ALWAYS AS (email IS NOT NULL) STORED
);
CREATE TABLE auth.identities (id uuid PRIMARY KEY, user_id uuid REFERENCES auth.users, email text);
CREATE TABLE auth.mfa_factors (id uuid PRIMARY KEY, secret text);
CREATE TABLE auth.sessions (id uuid PRIMARY KEY, note text);
CREATE TABLE auth.refresh_tokens (id bigserial PRIMARY KEY, token text);
CREATE TABLE auth.schema_migrations (version text);
CREATE TABLE storage.buckets (id text PRIMARY KEY, name text);
CREATE TABLE storage.objects (id uuid PRIMARY KEY, bucket_id text REFERENCES storage.buckets, name text);
CREATE TABLE storage.migrations (id integer PRIMARY KEY);
GRANT SELECT ON auth.users, auth.identities, auth.mfa_factors, auth.sessions, auth.refresh_tokens TO postgres;
GRANT SELECT ON storage.buckets, storage.objects TO postgres;
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.users OWNER TO supabase_auth_admin;
GRANT TRIGGER ON auth.users TO postgres;

CREATE TABLE cron.job (
    jobid bigserial PRIMARY KEY,
    schedule text,
    command text,
    database text,
    username text,
    active boolean,
    jobname text
);
ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_jobs ON cron.job USING (username = CURRENT_USER);
GRANT SELECT ON cron.job TO postgres;
CREATE TABLE vault.secrets (id uuid PRIMARY KEY, secret text);
GRANT SELECT ON vault.secrets TO postgres;
CREATE TABLE realtime.messages (topic text, payload jsonb);
CREATE TABLE realtime.subscription (id bigserial PRIMARY KEY);
CREATE VIEW realtime.topics WITH (security_barrier) AS SELECT DISTINCT topic FROM realtime.messages;
CREATE MATERIALIZED VIEW realtime.counted AS SELECT 1 AS one;
CREATE TYPE realtime.action AS ENUM ('insert', 'delete');
CREATE FUNCTION realtime.topic() RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
COMMENT ON SCHEMA realtime IS 'live';
COMMENT ON FUNCTION realtime.topic() IS 'of this session';
COMMENT ON COLUMN realtime.messages.topic IS 'what about';
ALTER TABLE realtime.messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE realtime.messages OWNER TO supabase_realtime_admin;
CREATE TABLE "_odd ""name.*".hidden (x integer);

CREATE FUNCTION extensions.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER ddl_watch ON ddl_command_end EXECUTE FUNCTION extensions.watch();
COMMENT ON EVENT TRIGGER ddl_watch IS 'the platform watches';
CREATE PUBLICATION platform_feed FOR TABLE realtime.messages;
CREATE PUBLICATION supabase_realtime;
ALTER PUBLICATION supabase_realtime OWNER TO postgres;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin IN SCHEMA public GRANT SELECT ON TABLES TO authenticated;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT SELECT ON TABLES TO authenticated;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA extensions GRANT SELECT ON TABLES TO authenticated;

INSERT INTO auth.users VALUES
    ('00000000-0000-4000-8000-000000000001', 'one@example.com', 'hash-of-one', 'token-of-one',
     '{"said": "it''s \\ \"quoted\""}', NULL),
    ('00000000-0000-4000-8000-000000000002', 'two@example.com', 'hash-of-two', NULL, NULL, NULL);
INSERT INTO auth.identities SELECT id, id, email FROM auth.users;
INSERT INTO auth.mfa_factors SELECT id, 'factor-of-somebody' FROM auth.users;
INSERT INTO auth.sessions SELECT id, 'session-of-somebody' FROM auth.users;
INSERT INTO auth.refresh_tokens (token) VALUES ('refresh-of-somebody');
INSERT INTO storage.buckets VALUES ('avatars', 'avatars');
INSERT INTO storage.objects VALUES ('00000000-0000-4000-8000-000000000003', 'avatars', 'face.png');
INSERT INTO vault.secrets SELECT id, 'ciphertext' FROM auth.users;
INSERT INTO realtime.messages VALUES ('topic', '{"message": "passing-message"}');
INSERT INTO cron.job (schedule, command, database, username, active, jobname) VALUES
    ('0 3 * * *', 'SELECT public.tidy()', 'postgres', 'postgres', true, 'tidy'),
    ('* * * * *', 'SELECT 1', 'postgres', 'postgres', false, NULL),
    ('* * * * *', 'SELECT ''of another role''', 'postgres', 'supabase_admin', true, 'theirs'),
    ('* * * * *', 'SELECT ''of another database''', 'template1', 'postgres', true, 'elsewhere');
