-- An object of every kind. A line `-- @since 15` begins a part for servers from 15 on; `-- @end` ends it.
SET search_path = '';
CREATE ROLE inv_owner NOLOGIN CREATEDB;
CREATE ROLE inv_group NOLOGIN;
CREATE ROLE inv_reader LOGIN NOINHERIT CONNECTION LIMIT 3 VALID UNTIL '2099-01-01';
CREATE ROLE "inv_Odd ""role""" NOLOGIN;
CREATE ROLE inv_stranger NOLOGIN;
CREATE ROLE inv_super SUPERUSER NOLOGIN;
GRANT inv_group TO inv_reader;
ALTER ROLE inv_reader SET statement_timeout = '3s';
ALTER ROLE inv_reader SET search_path = app, public;
CREATE SCHEMA app AUTHORIZATION inv_owner;
CREATE SCHEMA "Odd ""schema""";
CREATE EXTENSION citext WITH SCHEMA public;
CREATE EXTENSION hstore WITH SCHEMA app;
CREATE EXTENSION postgres_fdw WITH SCHEMA public;

-- Types
CREATE TYPE app.mood AS ENUM ('sad', 'it''s', 'happy');
ALTER TYPE app.mood ADD VALUE 'so-so' BEFORE 'happy';
CREATE TYPE app.point3 AS (x double precision, "Y y" text COLLATE "C", gone integer, z numeric(10,2)[]);
ALTER TYPE app.point3 DROP ATTRIBUTE gone;
CREATE TYPE app.float_range AS RANGE (subtype = double precision, subtype_diff = pg_catalog.float8mi);
CREATE TYPE app.shell;
CREATE TYPE app.mint;
CREATE FUNCTION app.mint_in(cstring) RETURNS app.mint LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION app.mint_out(app.mint) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE app.mint (INPUT = app.mint_in, OUTPUT = app.mint_out, LIKE = integer, CATEGORY = 'N', DEFAULT = '7', DELIMITER = ';');
CREATE DOMAIN app.percent AS numeric(5,2) DEFAULT 0 NOT NULL CONSTRAINT within CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN app.label AS text COLLATE "C";
CREATE COLLATION app.german (provider = icu, locale = 'de-DE');
CREATE COLLATION app.loose (provider = icu, locale = 'und', deterministic = false);
CREATE COLLATION app.plain (locale = 'C');
CREATE CONVERSION app.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;

-- Routines
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
-- a line that starts with dashes
  NEW.touched := 1;
  RETURN NEW;
END $body$;
CREATE FUNCTION app.add(a integer, b integer DEFAULT 2, VARIADIC rest text[] DEFAULT '{}') RETURNS integer
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, app COST 7 AS 'SELECT a + b';
CREATE FUNCTION app.rows_of(n integer, OUT one integer, OUT two text) RETURNS SETOF record LANGUAGE sql ROWS 5 AS 'SELECT n, n::text';
CREATE FUNCTION app.mood_less(app.mood, app.mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < $2';
CREATE FUNCTION app.mint_text(app.mint) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''mint''::text';
CREATE FUNCTION app.median_step(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2';
CREATE PROCEDURE app.work(INOUT a integer) LANGUAGE plpgsql AS 'BEGIN a := a + 1; END';
CREATE AGGREGATE app.total(numeric) (SFUNC = app.median_step, STYPE = numeric, INITCOND = '0', PARALLEL = SAFE);
CREATE AGGREGATE app.share(double precision ORDER BY anyelement) (SFUNC = pg_catalog.ordered_set_transition, STYPE = internal, FINALFUNC = pg_catalog.percentile_disc_final, FINALFUNC_EXTRA);
-- @since 14
CREATE FUNCTION app.twice(x integer) RETURNS integer LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT x * 2; END;
CREATE PROCEDURE app.out_only(IN a integer, OUT b text) LANGUAGE plpgsql AS 'BEGIN b := a; END';
-- @end

-- Operators and what uses them
CREATE FUNCTION app.eq3(app.point3, app.point3) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT ($1).x = ($2).x';
CREATE FUNCTION app.ne3(app.point3, app.point3) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT ($1).x <> ($2).x';
CREATE FUNCTION app.compare3(app.point3, app.point3) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 0';
CREATE OPERATOR app.=== (FUNCTION = app.eq3, LEFTARG = app.point3, RIGHTARG = app.point3, COMMUTATOR = OPERATOR(app.===), NEGATOR = OPERATOR(app.!==), HASHES, RESTRICT = eqsel);
CREATE OPERATOR app.!== (FUNCTION = app.ne3, LEFTARG = app.point3, RIGHTARG = app.point3, COMMUTATOR = OPERATOR(app.!==), NEGATOR = OPERATOR(app.===));
CREATE OPERATOR FAMILY app.point3_family USING hash;
CREATE OPERATOR CLASS app.point3_class DEFAULT FOR TYPE app.point3 USING btree AS OPERATOR 3 app.===, FUNCTION 1 app.compare3(app.point3, app.point3);
CREATE CAST (app.mint AS text) WITH FUNCTION app.mint_text(app.mint) AS ASSIGNMENT;
CREATE CAST (app.mint AS integer) WITHOUT FUNCTION;
CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER pg_catalog.heap_tableam_handler;
CREATE FUNCTION app.my_handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION app.my_inline(internal) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE LANGUAGE mylang HANDLER app.my_handler INLINE app.my_inline;
CREATE FUNCTION app.from_mood(internal) RETURNS internal LANGUAGE internal STRICT IMMUTABLE AS 'prsd_start';
CREATE TRANSFORM FOR app.mood LANGUAGE mylang (FROM SQL WITH FUNCTION app.from_mood(internal));

-- Text search
CREATE TEXT SEARCH TEMPLATE app.simple_template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY app.words (TEMPLATE = pg_catalog.simple, STOPWORDS = 'english');
CREATE TEXT SEARCH PARSER app.splitter (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH CONFIGURATION app.finder (PARSER = pg_catalog."default");
ALTER TEXT SEARCH CONFIGURATION app.finder ADD MAPPING FOR asciiword, word WITH app.words, pg_catalog.simple;

-- Tables
CREATE TABLE app.users (
  gone integer,
  id bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 5),
  email public.citext NOT NULL,
  status varchar(10) DEFAULT 'new' CONSTRAINT known_status CHECK (status IN ('new', 'old')),
  mood app.mood DEFAULT 'happy',
  share app.percent,
  name text COLLATE "C",
  shout text GENERATED ALWAYS AS (upper(name)) STORED,
  place app.point3,
  touched integer,
  born date,
  period int4range,
  CONSTRAINT users_pkey PRIMARY KEY (id) WITH (fillfactor = 80),
  CONSTRAINT users_email_key UNIQUE (email) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT no_overlap EXCLUDE USING gist (period WITH &&)
) WITH (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
ALTER TABLE app.users DROP COLUMN gone;
ALTER TABLE app.users ALTER COLUMN name SET STORAGE EXTERNAL;
ALTER TABLE app.users ALTER COLUMN born SET STATISTICS 500;
ALTER TABLE app.users ALTER COLUMN born SET (n_distinct = -0.5);
ALTER TABLE app.users CLUSTER ON users_pkey;
ALTER TABLE app.users OWNER TO inv_owner;
-- @since 14
ALTER TABLE app.users ALTER COLUMN name SET COMPRESSION pglz;
-- @end
-- @since 18
ALTER TABLE app.users ADD COLUMN whisper text GENERATED ALWAYS AS (lower(name)) VIRTUAL;
ALTER TABLE app.users ADD CONSTRAINT wish CHECK (touched > 0) NOT ENFORCED;
-- @end
CREATE UNLOGGED TABLE app.visits (id serial, user_id bigint, at timestamptz DEFAULT now());
CREATE TABLE app.typed OF app.point3 (x WITH OPTIONS DEFAULT 1.5);
CREATE TABLE app.heap2 (a integer) USING heap2;
CREATE TABLE app.base (a integer CHECK (a > 0), b text);
CREATE TABLE app.other (c text);
CREATE TABLE app.child (d integer) INHERITS (app.base, app.other);
CREATE TABLE app.orders (id bigint NOT NULL, at date NOT NULL, user_id bigint, total numeric) PARTITION BY RANGE (at);
CREATE TABLE app.orders_2024 PARTITION OF app.orders FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE app.orders_2025 (total numeric, gone text, id bigint NOT NULL, user_id bigint, at date NOT NULL) PARTITION BY HASH (id);
ALTER TABLE app.orders_2025 DROP COLUMN gone;
ALTER TABLE app.orders ATTACH PARTITION app.orders_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE app.orders_2025_0 PARTITION OF app.orders_2025 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.orders_2025_1 PARTITION OF app.orders_2025 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE app.orders_rest PARTITION OF app.orders DEFAULT;
ALTER TABLE app.orders ADD PRIMARY KEY (id, at);
ALTER TABLE app.orders ADD CONSTRAINT orders_user_fkey FOREIGN KEY (user_id) REFERENCES app.users (id) ON DELETE CASCADE;
CREATE TABLE app.lines (order_id bigint, order_at date, note text, CONSTRAINT lines_order_fkey FOREIGN KEY (order_id, order_at) REFERENCES app.orders DEFERRABLE);
CREATE TABLE app.regions (name text, kind app.mood) PARTITION BY RANGE (name);
CREATE TABLE app.regions_a PARTITION OF app.regions FOR VALUES FROM ('a') TO ('m');
CREATE TABLE app.codes (name text) PARTITION BY RANGE (name COLLATE "C");
CREATE TABLE app.codes_a PARTITION OF app.codes FOR VALUES FROM ('a') TO ('m');
CREATE TABLE app.kinds (name text) PARTITION BY LIST (name);
CREATE TABLE app.kinds_a PARTITION OF app.kinds FOR VALUES IN ('a', 'it''s');
CREATE TABLE app.loose_kinds (name text COLLATE app.loose) PARTITION BY LIST (name);
CREATE TABLE app.loose_kinds_a PARTITION OF app.loose_kinds FOR VALUES IN ('a');
ALTER TABLE app.visits ADD CONSTRAINT visits_user_fkey FOREIGN KEY (user_id) REFERENCES app.users NOT VALID;
CREATE INDEX visits_at_idx ON app.visits USING brin (at) WITH (pages_per_range = 32);
CREATE UNIQUE INDEX users_name_idx ON app.users (lower(name), born DESC NULLS LAST) INCLUDE (mood) WHERE status IN ('new', 'old');
ALTER INDEX app.users_name_idx ALTER COLUMN 1 SET STATISTICS 300;
CREATE INDEX orders_total_idx ON app.orders (total);
CREATE UNIQUE INDEX base_identity ON app.base (a);
ALTER TABLE app.base ALTER COLUMN a SET NOT NULL;
ALTER TABLE app.base REPLICA IDENTITY USING INDEX base_identity;
ALTER TABLE app.child REPLICA IDENTITY FULL;
CREATE STATISTICS app.users_stats (dependencies, mcv) ON status, mood FROM app.users;
ALTER STATISTICS app.users_stats SET STATISTICS 50;
-- @since 14
CREATE STATISTICS app.users_expression ON (lower(name)) FROM app.users;
-- @end
CREATE SEQUENCE app.counter AS integer START 5 INCREMENT -1 MINVALUE -100 MAXVALUE 10 CACHE 3 CYCLE;
CREATE SEQUENCE app.unused;
CREATE TABLE app.wide (id bigint GENERATED BY DEFAULT AS IDENTITY (MINVALUE -9 MAXVALUE 5000), other bigint GENERATED ALWAYS AS IDENTITY);
CREATE TABLE app.narrow (id integer GENERATED BY DEFAULT AS IDENTITY, other smallint GENERATED ALWAYS AS IDENTITY);
ALTER TABLE app.narrow ALTER COLUMN id TYPE bigint;
ALTER SEQUENCE app.wide_id_seq AS integer;

-- Views
CREATE VIEW app.active WITH (security_barrier) AS SELECT id, name FROM app.users WHERE status IN ('new', 'old') WITH LOCAL CHECK OPTION;
ALTER VIEW app.active ALTER COLUMN name SET DEFAULT 'nobody';
-- @since 15
CREATE VIEW app.invoked WITH (security_invoker = true, security_barrier = false) AS SELECT count(*) AS n FROM app.users;
-- @end
CREATE MATERIALIZED VIEW app.summary AS SELECT status, count(*) AS n FROM app.users GROUP BY status;
CREATE UNIQUE INDEX summary_idx ON app.summary (status);
ALTER MATERIALIZED VIEW app.summary ALTER COLUMN status SET STATISTICS 7;
CREATE MATERIALIZED VIEW app.later AS SELECT 1 AS one WITH NO DATA;

-- What acts on its own
CREATE TRIGGER touch BEFORE INSERT OR UPDATE OF name ON app.users FOR EACH ROW WHEN (NEW.status IN ('new', 'old')) EXECUTE FUNCTION app.touch();
CREATE TRIGGER silent AFTER DELETE ON app.users FOR EACH STATEMENT EXECUTE FUNCTION app.touch();
ALTER TABLE app.users DISABLE TRIGGER silent;
CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON app.users DEFERRABLE FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER per_order AFTER INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE app.orders_2024 DISABLE TRIGGER per_order;
CREATE RULE no_delete AS ON DELETE TO app.base DO INSTEAD NOTHING;
ALTER TABLE app.base DISABLE RULE no_delete;
ALTER TABLE app.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.users FORCE ROW LEVEL SECURITY;
CREATE POLICY readers ON app.users FOR SELECT TO inv_reader, inv_group USING (status IN ('new', 'old'));
CREATE POLICY writers ON app.users AS RESTRICTIVE FOR ALL USING (true) WITH CHECK (id > 0);
CREATE FUNCTION app.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER inv_ddl ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION app.on_ddl();
ALTER EVENT TRIGGER inv_ddl DISABLE;

-- Publications
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert, delete');
CREATE PUBLICATION few FOR TABLE app.orders WITH (publish_via_partition_root);
-- @since 15
CREATE PUBLICATION narrow FOR TABLE app.users (id, email) WHERE (touched > 3), app.lines;
CREATE PUBLICATION schemas FOR TABLES IN SCHEMA "Odd ""schema""", public;
ALTER PUBLICATION narrow SET (publish = 'insert');
-- @end

-- Foreign data
CREATE FOREIGN DATA WRAPPER wrap OPTIONS (api_key 'sesame-1', mode 'fast');
CREATE SERVER remote TYPE 'shop' VERSION '9' FOREIGN DATA WRAPPER wrap OPTIONS (host 'example', access_token 'sesame-2');
CREATE SERVER real FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'example', dbname 'd');
CREATE USER MAPPING FOR PUBLIC SERVER remote OPTIONS (user 'u', password 'sesame-3');
CREATE USER MAPPING FOR inv_reader SERVER remote OPTIONS (secret 'sesame-4');
CREATE FOREIGN TABLE app.far (a integer OPTIONS (column_name 'A') NOT NULL, b text) SERVER remote OPTIONS (path '/x', client_secret 'sesame-5');

-- Hostile names
CREATE TABLE "Odd ""schema"""."line
break	and \ ""quote"" %I $$ 😀" ("col
umn\" integer DEFAULT 1 CONSTRAINT "che
ck" CHECK ("col
umn\" > 0), "select" text);
CREATE INDEX "in
dex" ON "Odd ""schema"""."line
break	and \ ""quote"" %I $$ 😀" ("col
umn\");
CREATE FUNCTION "Odd ""schema"""."f
(x)"("a
b" text) RETURNS text LANGUAGE sql AS $$ SELECT E'it''s \\ \n' $$;
CREATE SEQUENCE "Odd ""schema"""."sixty-three bytes: 0123456789012345678901234567890123456789012";
CREATE POLICY "po\licy" ON "Odd ""schema"""."line
break	and \ ""quote"" %I $$ 😀" TO "inv_Odd ""role""" USING (true);
CREATE TYPE "Odd ""schema"""."Ty pe" AS ENUM ('a
b', 'c\d', '😀');

-- Remarks
COMMENT ON SCHEMA app IS 'the application';
COMMENT ON TABLE app.users IS E'it''s\nusers';
COMMENT ON COLUMN app.users.email IS 'where to';
COMMENT ON CONSTRAINT known_status ON app.users IS 'two of them';
COMMENT ON CONSTRAINT within ON DOMAIN app.percent IS 'a share';
COMMENT ON INDEX app.users_name_idx IS 'fast';
COMMENT ON TRIGGER touch ON app.users IS 'touches';
COMMENT ON POLICY readers ON app.users IS 'who reads';
COMMENT ON RULE no_delete ON app.base IS 'keeps';
COMMENT ON FUNCTION app.add(integer, integer, text[]) IS 'adds';
COMMENT ON TYPE app.mood IS 'how';
COMMENT ON COLUMN app.point3.x IS 'wide';
COMMENT ON OPERATOR app.=== (app.point3, app.point3) IS 'same';
COMMENT ON EVENT TRIGGER inv_ddl IS 'watches';
COMMENT ON PUBLICATION few IS 'few';
COMMENT ON SERVER remote IS 'far';
COMMENT ON TEXT SEARCH CONFIGURATION app.finder IS 'finds';
COMMENT ON STATISTICS app.users_stats IS 'knows';
COMMENT ON CAST (app.mint AS text) IS 'casts';
SELECT pg_catalog.lo_create(424242);
COMMENT ON LARGE OBJECT 424242 IS 'large';
ALTER LARGE OBJECT 424242 OWNER TO inv_owner;

-- Privileges
GRANT USAGE ON SCHEMA app TO inv_reader, inv_group;
GRANT SELECT ON app.users TO inv_reader WITH GRANT OPTION;
GRANT INSERT, UPDATE (email, name) ON app.users TO inv_group;
REVOKE DELETE ON app.visits FROM postgres;
GRANT SELECT ON app.active, app.summary, app.far TO PUBLIC;
GRANT USAGE ON SEQUENCE app.users_id_seq, app.counter TO inv_reader;
REVOKE EXECUTE ON FUNCTION app.add(integer, integer, text[]) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE app.work(integer) TO "inv_Odd ""role""";
GRANT EXECUTE ON FUNCTION app.total(numeric), app.share(double precision, anyelement) TO inv_reader;
REVOKE USAGE ON TYPE app.mood FROM PUBLIC;
GRANT USAGE ON DOMAIN app.percent TO inv_reader WITH GRANT OPTION;
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql TO inv_owner;
GRANT USAGE ON FOREIGN DATA WRAPPER wrap TO inv_reader;
GRANT USAGE ON FOREIGN SERVER remote TO inv_group;
GRANT SELECT ON LARGE OBJECT 424242 TO inv_reader;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC;
GRANT SELECT ON pg_catalog.pg_authid TO inv_group;
GRANT SELECT (rolname) ON pg_catalog.pg_authid TO inv_reader;
REVOKE EXECUTE ON FUNCTION app.hstore_to_json(app.hstore) FROM PUBLIC;
GRANT ALL ON "Odd ""schema"""."line
break	and \ ""quote"" %I $$ 😀" TO "inv_Odd ""role""";
ALTER DEFAULT PRIVILEGES FOR ROLE inv_owner IN SCHEMA app GRANT SELECT ON TABLES TO inv_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE inv_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
