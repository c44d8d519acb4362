CREATE ROLE app; CREATE ROLE reader; CREATE ROLE deputy;
CREATE SCHEMA s AUTHORIZATION app;
CREATE SCHEMA "Odd ""schema""";
COMMENT ON SCHEMA public IS 'changed';
CREATE EXTENSION hstore SCHEMA s;
CREATE TYPE s.mood AS ENUM ('sad', 'ok', 'it''s');
CREATE TYPE public.pair AS (a int, b text);
CREATE TYPE public.span AS RANGE (subtype = float8);
CREATE DOMAIN public.positive AS int CHECK (VALUE > 0);
CREATE COLLATION public.german (provider = icu, locale = 'de');
CREATE FUNCTION public.twice(a int, b text DEFAULT 'x') RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a * 2';
CREATE FUNCTION public.strange() RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
  -- a comment; with a semicolon
  RETURN '\! $$ "';
END $body$;
CREATE PROCEDURE public.noop(INOUT a int) LANGUAGE plpgsql AS $$BEGIN END$$;
CREATE AGGREGATE public.total(int) (SFUNC = int4pl, STYPE = int);
CREATE OPERATOR public.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE OPERATOR CLASS public.whole FOR TYPE int USING btree AS OPERATOR 1 <, FUNCTION 1 btint4cmp(int, int);
CREATE CAST (s.mood AS int) WITH INOUT;
CREATE CONVERSION public.latin FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
CREATE TEXT SEARCH DICTIONARY public.dictionary (TEMPLATE = simple);
CREATE TEXT SEARCH CONFIGURATION public.search (COPY = simple);
CREATE FOREIGN DATA WRAPPER wrapper;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER wrapper;
CREATE USER MAPPING FOR app SERVER elsewhere;
CREATE FOREIGN TABLE public.remote (a int) SERVER elsewhere;

CREATE TABLE s.customers (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, mood s.mood, tags s.hstore,
  twice int GENERATED ALWAYS AS (1 + 1) STORED, status text CHECK (status IN ('a', 'b'))
);
ALTER TABLE s.customers OWNER TO app;
INSERT INTO s.customers (name, mood, tags, status)
  SELECT 'name ' || g, (ARRAY['sad', 'ok', 'it''s'])[g % 3 + 1]::s.mood, s.hstore('k', g::text), 'a'
  FROM generate_series(1, 5000) g;
CREATE TABLE s.orders (
  id serial PRIMARY KEY, customer int REFERENCES s.customers, total public.positive, data jsonb, raw bytea, shape pair,
  day date DEFAULT current_date
);
INSERT INTO s.orders (customer, total, data, raw, shape, day)
  SELECT g % 5000 + 1, g, jsonb_build_object('n', g, 't', E'tab\t newline\n \\ "'), decode(md5(g::text), 'hex'),
         ROW(g, 'x')::pair, DATE '2026-01-01' + g % 100
  FROM generate_series(1, 20000) g;
CREATE INDEX orders_customer ON s.orders (customer);
CREATE INDEX orders_day ON s.orders (day DESC) WHERE total > 10;
CREATE INDEX orders_expression ON s.orders (twice(total));
CREATE STATISTICS s.orders_statistics ON customer, day FROM s.orders;
ALTER TABLE s.orders ALTER COLUMN customer SET STATISTICS 500, ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE RULE nothing AS ON DELETE TO s.orders WHERE old.id < 0 DO INSTEAD NOTHING;
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.day = current_date; RETURN NEW; END$$;
CREATE TRIGGER touch BEFORE UPDATE ON s.orders FOR EACH ROW EXECUTE FUNCTION public.touch();
CREATE TRIGGER never BEFORE UPDATE ON s.orders FOR EACH ROW EXECUTE FUNCTION public.touch();
ALTER TABLE s.orders DISABLE TRIGGER never;
ALTER TABLE s.customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE s.customers FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON s.customers FOR SELECT TO reader USING (name = current_user);

CREATE TABLE public.events (at int, kind text) PARTITION BY RANGE (at);
CREATE TABLE public.events_1 PARTITION OF public.events FOR VALUES FROM (0) TO (100) PARTITION BY LIST (kind);
CREATE TABLE public.events_1_a PARTITION OF public.events_1 FOR VALUES IN ('a', 'b');
CREATE TABLE public.events_1_rest PARTITION OF public.events_1 DEFAULT;
CREATE TABLE public.events_2 PARTITION OF public.events FOR VALUES FROM (100) TO (200);
ALTER TABLE public.events ADD PRIMARY KEY (at, kind);
CREATE INDEX ON public.events (kind);
INSERT INTO public.events SELECT g, chr(97 + g % 5) FROM generate_series(0, 199) g;
CREATE TABLE public.hashed (k text PRIMARY KEY) PARTITION BY HASH (k);
CREATE TABLE public.hashed_0 PARTITION OF public.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.hashed_1 PARTITION OF public.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO public.hashed SELECT 'key ' || g FROM generate_series(1, 300) g;
CREATE TABLE public.refers (id int PRIMARY KEY, at int, kind text, FOREIGN KEY (at, kind) REFERENCES public.events);
INSERT INTO public.refers SELECT g, g, chr(97 + g % 5) FROM generate_series(0, 50) g;

CREATE TABLE public.parent (a int); CREATE TABLE public.child (b int) INHERITS (public.parent);
INSERT INTO public.parent VALUES (1); INSERT INTO public.child VALUES (2, 3);
CREATE TABLE public.ring_a (id int PRIMARY KEY, b int);
CREATE TABLE public.ring_b (id int PRIMARY KEY, a int REFERENCES public.ring_a);
ALTER TABLE public.ring_a ADD FOREIGN KEY (b) REFERENCES public.ring_b DEFERRABLE INITIALLY DEFERRED;
BEGIN; INSERT INTO public.ring_a VALUES (1, 1); INSERT INTO public.ring_b VALUES (1, 1); COMMIT;
CREATE TABLE public.loose (id int, customer int);
INSERT INTO public.loose VALUES (1, -5);
ALTER TABLE public.loose ADD FOREIGN KEY (customer) REFERENCES s.customers NOT VALID;
CREATE UNLOGGED TABLE public.fast AS SELECT 1 AS a;
CREATE TABLE public.no_columns (); INSERT INTO public.no_columns DEFAULT VALUES;
CREATE TABLE public.replicated (a int NOT NULL UNIQUE, b int);
ALTER TABLE public.replicated REPLICA IDENTITY USING INDEX replicated_a_key;
CREATE TABLE public.excluding (r int4range, EXCLUDE USING gist (r WITH &&));
CREATE TABLE "Odd ""schema"""."tab'le
\🦀" ("co""l" int PRIMARY KEY, "select" text DEFAULT E'a\\b''c');
INSERT INTO "Odd ""schema"""."tab'le
\🦀" VALUES (1, E'\\N'), (2, NULL), (3, E'a\tb\nc\\');
COMMENT ON TABLE "Odd ""schema"""."tab'le
\🦀" IS 'it''s "odd" \ 🦀';

CREATE VIEW public.shown WITH (security_invoker = true) AS SELECT id, name FROM s.customers;
CREATE VIEW public.checked AS SELECT * FROM public.parent WHERE a > 0 WITH CASCADED CHECK OPTION;
CREATE MATERIALIZED VIEW public.a_last AS SELECT 1 AS placeholder WITH NO DATA;
CREATE MATERIALIZED VIEW public.z_first AS SELECT customer, count(*) AS n FROM s.orders GROUP BY customer;
CREATE VIEW public.middle AS SELECT * FROM public.z_first;
CREATE MATERIALIZED VIEW public.b_second AS SELECT max(n) AS n FROM public.middle;
CREATE UNIQUE INDEX z_first_customer ON public.z_first (customer);
CREATE SEQUENCE public.counter START 7 INCREMENT 3 MAXVALUE 1000 CYCLE;
SELECT nextval('public.counter'), nextval('public.counter');
CREATE SEQUENCE public.unused;

CREATE PUBLICATION chosen FOR TABLE s.orders (id, total) WHERE (id > 5);
CREATE PUBLICATION whole FOR TABLES IN SCHEMA "Odd ""schema""";
CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert');
CREATE FUNCTION public.note() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN END$$;
CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION public.note();
ALTER EVENT TRIGGER noted ENABLE ALWAYS;
SELECT lo_from_bytea(4711, decode(repeat('00ff10', 200000), 'hex')), lo_create(4712), lo_from_bytea(4713, 'x');
ALTER LARGE OBJECT 4711 OWNER TO app;
GRANT SELECT ON LARGE OBJECT 4712 TO reader;
COMMENT ON LARGE OBJECT 4711 IS 'a large object';

GRANT USAGE ON SCHEMA s TO reader, deputy;
GRANT SELECT ON s.customers TO deputy WITH GRANT OPTION;
SET ROLE deputy; GRANT SELECT ON s.customers TO reader; RESET ROLE;
GRANT SELECT (id, day), UPDATE (day) ON s.orders TO reader;
REVOKE EXECUTE ON FUNCTION public.twice FROM PUBLIC; GRANT EXECUTE ON FUNCTION public.twice TO app;
REVOKE ALL ON TABLE public.loose FROM postgres;
GRANT USAGE ON TYPE s.mood TO reader; REVOKE USAGE ON TYPE public.pair FROM PUBLIC;
GRANT USAGE, SELECT ON SEQUENCE s.customers_id_seq TO reader;
GRANT USAGE ON FOREIGN SERVER elsewhere TO reader;
GRANT CREATE ON SCHEMA public TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA s GRANT SELECT ON TABLES TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE app REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

COMMENT ON TABLE s.orders IS 'orders'; COMMENT ON COLUMN s.orders.total IS 'sum';
COMMENT ON INDEX s.orders_day IS 'days'; COMMENT ON CONSTRAINT orders_pkey ON s.orders IS 'key';
COMMENT ON TRIGGER touch ON s.orders IS 'touch'; COMMENT ON POLICY own ON s.customers IS 'own';
COMMENT ON PUBLICATION chosen IS 'some'; COMMENT ON EVENT TRIGGER noted IS 'noted';
COMMENT ON FUNCTION public.twice IS 'twice'; COMMENT ON TYPE s.mood IS 'mood';
