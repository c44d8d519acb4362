-- What a customer makes in a project, as postgres and within its rights.

CREATE ROLE app_owner NOLOGIN;
CREATE ROLE app_reader LOGIN CONNECTION LIMIT 7;
ALTER ROLE app_reader SET statement_timeout = '15s';
ALTER ROLE app_reader SET search_path = app, public;
COMMENT ON ROLE app_reader IS 'reads reports';
GRANT app_owner TO postgres;
GRANT app_reader TO app_owner;
GRANT authenticated TO app_reader;
ALTER DATABASE postgres SET work_mem = '6MB';
ALTER ROLE app_reader IN DATABASE postgres SET work_mem = '5MB';

CREATE EXTENSION citext WITH SCHEMA public;
CREATE EXTENSION hstore WITH SCHEMA extensions;
CREATE EXTENSION pg_cron;

CREATE SCHEMA app;
COMMENT ON SCHEMA app IS 'the shop';
GRANT USAGE, CREATE ON SCHEMA app TO app_owner;
GRANT USAGE ON SCHEMA app TO authenticated, app_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO app_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT USAGE ON SEQUENCES TO app_reader WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE COLLATION app.german (provider = icu, locale = 'de-DE');
CREATE TYPE public.mood AS ENUM ('calm', 'busy');
CREATE TYPE app.place AS (street text, number integer);
CREATE DOMAIN app.price AS numeric(12, 2) CHECK (VALUE >= 0);
GRANT USAGE ON TYPE app.price TO app_reader;
REVOKE USAGE ON TYPE public.mood FROM PUBLIC;
GRANT USAGE ON TYPE public.mood TO authenticated;

-- Accounts: a profile for each, made by a trigger on the table of the authentication service.
CREATE TABLE public.profiles (
    id uuid PRIMARY KEY REFERENCES auth.users ON DELETE CASCADE,
    username citext UNIQUE,
    mood public.mood NOT NULL DEFAULT 'calm',
    created_at timestamptz NOT NULL DEFAULT '2026-11-01 00:00:00+00'
);
ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
COMMENT ON TABLE public.profiles IS 'one for each account';
COMMENT ON COLUMN public.profiles.username IS 'case does not matter';
REVOKE ALL ON public.profiles FROM anon;
GRANT SELECT, UPDATE ON public.profiles TO authenticated;

CREATE FUNCTION public.handle_new_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
-- this line begins with two dashes and belongs to the function
    INSERT INTO public.profiles (id, username)
    VALUES (NEW.id, NEW.raw_user_meta_data ->> 'username');
--so does this
    RETURN NEW;
END $$;
CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users
    FOR EACH ROW EXECUTE FUNCTION public.handle_new_user();
CREATE FUNCTION public.handle_user_gone() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
CREATE TRIGGER on_auth_user_deleted BEFORE DELETE ON auth.users
    FOR EACH ROW WHEN (OLD.is_anonymous) EXECUTE FUNCTION public.handle_user_gone();
CREATE FUNCTION public.handle_upload() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER on_upload AFTER INSERT ON storage.objects
    FOR EACH ROW EXECUTE FUNCTION public.handle_upload();

CREATE FUNCTION public.is_member(member uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = 'pg_catalog', 'public'
AS $$ SELECT EXISTS (SELECT FROM public.profiles WHERE id = member) $$;
GRANT EXECUTE ON FUNCTION public.is_member(uuid) TO anon, authenticated;

-- Nobody but the server may call it.
CREATE FUNCTION public.server_only() RETURNS text LANGUAGE sql AS 'SELECT ''secret''::text';
REVOKE EXECUTE ON FUNCTION public.server_only() FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION public.server_only() TO service_role;
CREATE FUNCTION public.open_call(a integer, b text DEFAULT '--') RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 7 AS 'SELECT a || b';
GRANT EXECUTE ON FUNCTION public.open_call(integer, text) TO PUBLIC;
COMMENT ON FUNCTION public.open_call(integer, text) IS 'anybody calls it';
CREATE PROCEDURE app.tidy(days integer) LANGUAGE plpgsql AS 'BEGIN PERFORM days; END';

CREATE TABLE public.notes (
    id bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 5) PRIMARY KEY,
    author uuid DEFAULT auth.uid() REFERENCES public.profiles,
    title citext NOT NULL DEFAULT 'untitled',
    body text COLLATE app.german NOT NULL DEFAULT '',
    shout text GENERATED ALWAYS AS (upper(title::text)) STORED,
    published boolean NOT NULL DEFAULT false,
    at timestamptz NOT NULL DEFAULT '2026-11-01 00:00:00+00'
);
ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.notes REPLICA IDENTITY FULL;
ALTER TABLE public.notes ALTER body SET STATISTICS 250, ALTER body SET STORAGE EXTERNAL;
ALTER TABLE public.notes SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
REVOKE ALL ON public.notes FROM anon, authenticated;
GRANT SELECT (id, title, published) ON public.notes TO anon;
GRANT SELECT, INSERT, UPDATE (body, published) ON public.notes TO authenticated;
GRANT ALL ON public.notes TO service_role;
CREATE INDEX notes_by_author ON public.notes (author, at DESC) WHERE published;
COMMENT ON INDEX public.notes_by_author IS 'for the front page';
CREATE POLICY "own notes" ON public.notes FOR ALL TO authenticated
    USING (author = auth.uid() AND public.is_member(auth.uid())) WITH CHECK (author = auth.uid());
CREATE POLICY "published notes" ON public.notes AS PERMISSIVE FOR SELECT TO anon, authenticated USING (published);
CREATE POLICY "never the drafts" ON public.notes AS RESTRICTIVE FOR SELECT TO anon USING (title <> 'draft');
COMMENT ON POLICY "own notes" ON public.notes IS 'as the sign-in says';
CREATE TRIGGER notes_hook AFTER INSERT OR UPDATE ON public.notes
    FOR EACH ROW EXECUTE FUNCTION supabase_functions.http_request('https://example.com/hook', 'POST', '{}', '{}', '1000');
CREATE TRIGGER notes_quiet AFTER UPDATE ON public.notes
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION public.handle_upload();
ALTER TABLE public.notes DISABLE TRIGGER notes_quiet;

CREATE VIEW public.front_page WITH (security_invoker = true) AS
    SELECT id, title FROM public.notes WHERE published;
CREATE VIEW public.all_titles WITH (security_barrier = true) AS SELECT id, title FROM public.notes;
CREATE VIEW public.drafts AS SELECT id, title, published FROM public.notes WHERE NOT published
    WITH LOCAL CHECK OPTION;
REVOKE ALL ON public.front_page, public.all_titles, public.drafts FROM anon, authenticated;
GRANT SELECT ON public.front_page, public.all_titles TO anon, authenticated;
GRANT SELECT (title) ON public.drafts TO authenticated;

-- Only for those who are signed in; row-level security off on purpose.
CREATE TABLE public.members_only (id integer PRIMARY KEY, fact text);
ALTER TABLE public.members_only DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON public.members_only FROM anon, authenticated, service_role;
GRANT SELECT ON public.members_only TO authenticated;

-- The owner too is subject to the policies.
CREATE TABLE public.ledger (id serial PRIMARY KEY, amount app.price NOT NULL DEFAULT 0, paid_by uuid);
ALTER TABLE public.ledger ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.ledger FORCE ROW LEVEL SECURITY;
CREATE POLICY "the payer" ON public.ledger FOR SELECT TO authenticated USING (paid_by = auth.uid());
REVOKE ALL ON public.ledger FROM anon;

CREATE TABLE app.customers (
    id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    name text NOT NULL DEFAULT 'nobody',
    home app.place,
    tags extensions.hstore
);
CREATE UNIQUE INDEX customers_name ON app.customers (name);
ALTER TABLE app.customers REPLICA IDENTITY USING INDEX customers_name;
REVOKE ALL ON SEQUENCE app.customers_id_seq FROM app_reader;
GRANT SELECT ON SEQUENCE app.customers_id_seq TO authenticated;

CREATE TABLE app.orders (
    id bigint NOT NULL DEFAULT 0,
    customer integer,
    day date NOT NULL DEFAULT '2026-11-01',
    total app.price,
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);
CREATE TABLE app.orders_2026_11 PARTITION OF app.orders FOR VALUES FROM ('2026-11-01') TO ('2026-12-01');
CREATE TABLE app.orders_later PARTITION OF app.orders DEFAULT;
CREATE SEQUENCE app.order_numbers INCREMENT 3 MAXVALUE 900 CACHE 1 CYCLE;
CREATE SEQUENCE app.unused_numbers START 70;
ALTER TABLE app.orders ALTER id SET DEFAULT nextval('app.order_numbers');
ALTER TABLE app.orders_2026_11 ADD CONSTRAINT orders_customer FOREIGN KEY (customer) REFERENCES app.customers NOT VALID;
ALTER TABLE app.orders_later ADD CONSTRAINT later_customer FOREIGN KEY (customer) REFERENCES app.customers
    ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED;
CREATE STATISTICS app.orders_pairs (ndistinct, dependencies, mcv) ON customer, total FROM app.orders_2026_11;
ALTER STATISTICS app.orders_pairs SET STATISTICS 500;
COMMENT ON STATISTICS app.orders_pairs IS 'they go together';
CREATE UNLOGGED TABLE app.scratch (x integer);

CREATE MATERIALIZED VIEW app.totals AS SELECT customer, sum(total) AS total FROM app.orders GROUP BY customer;
CREATE UNIQUE INDEX totals_customer ON app.totals (customer);
CREATE MATERIALIZED VIEW app.grand_total AS SELECT sum(total) AS total FROM app.totals;
CREATE MATERIALIZED VIEW app.not_yet AS SELECT total FROM app.grand_total WITH NO DATA;
GRANT SELECT ON app.totals TO authenticated;

CREATE TABLE app.ownership (id integer PRIMARY KEY);
ALTER TABLE app.ownership OWNER TO app_owner;
CREATE FUNCTION app.owned() RETURNS integer LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION app.owned() OWNER TO app_owner;

CREATE SCHEMA supabase_migrations;
CREATE TABLE supabase_migrations.schema_migrations (version text PRIMARY KEY, statements text[], name text);
CREATE TABLE supabase_migrations.seed_files (path text PRIMARY KEY, hash text NOT NULL);

ALTER PUBLICATION supabase_realtime ADD TABLE public.notes;
CREATE PUBLICATION app_changes FOR TABLE public.notes (id, title, published) WHERE (published), TABLE app.customers
    WITH (publish = 'insert');
CREATE PUBLICATION app_orders FOR TABLE app.orders WITH (publish_via_partition_root = true, publish = 'insert, delete');
COMMENT ON PUBLICATION app_changes IS 'for the search index';
