DO $$
DECLARE
    name text;
BEGIN
    FOR number IN {first}..{last} LOOP
        name := 'tenant_' || lpad(number::text, 6, '0');
        EXECUTE format(
            'CREATE TABLE %I (id bigint PRIMARY KEY, name text NOT NULL, amount numeric(12, 2),'
            ' attributes jsonb NOT NULL, created_at timestamptz NOT NULL)', name);
        EXECUTE format(
            'INSERT INTO %I SELECT i, md5(%L || i), (hashint8extended(i, %s) & 1048575) / 100.0,'
            ' jsonb_build_object(''key'', md5(i || %L)), timestamptz ''2023-01-01 00:00:00Z'' + i * interval ''1 hour'''
            ' FROM generate_series(1, %s) AS i', name, name, number, name, 1 + number * 7 % 40);
        EXECUTE format('CREATE INDEX ON %I (created_at)', name);
    END LOOP;
END
$$;
