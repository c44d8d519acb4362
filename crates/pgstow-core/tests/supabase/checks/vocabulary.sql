-- What the questions share. It lives as long as the session.

-- Whether a schema belongs to the customer.
CREATE FUNCTION pg_temp.is_mine(schema name) RETURNS boolean LANGUAGE sql AS $$
    SELECT schema !~ '^pg_' AND schema <> ALL (ARRAY['information_schema', 'auth', 'storage', 'vault', 'cron', 'realtime',
           'graphql', 'graphql_public', 'net', 'pgbouncer', 'supabase_functions', 'extensions']::name[])
$$;

CREATE FUNCTION pg_temp.is_of_an_extension(catalog regclass, object oid) RETURNS boolean LANGUAGE sql AS $$
    SELECT EXISTS (SELECT FROM pg_depend WHERE classid = catalog AND objid = object AND deptype = 'e')
$$;

-- A role that neither the server nor the platform made.
CREATE FUNCTION pg_temp.is_custom(role oid) RETURNS boolean LANGUAGE sql AS $$
    SELECT rolname !~ '^(pg_|supabase_|pgsodium_|cli_login_)' AND rolname <> ALL (ARRAY['postgres', 'anon', 'authenticated',
           'service_role', 'authenticator', 'dashboard_user', 'pgbouncer', 'pgtle_admin']::name[])
      FROM pg_roles WHERE oid = role
$$;

-- Who holds a privilege. The owner is called so, as it may be mapped.
CREATE FUNCTION pg_temp.holder(role oid, owner oid) RETURNS text LANGUAGE sql AS $$
    SELECT CASE role WHEN owner THEN 'its owner' WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(role)::text END
$$;

-- The only value of a query.
CREATE FUNCTION pg_temp.value_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    EXECUTE query INTO found;
    RETURN found;
END $$;

-- The rows of a relation, whatever their order.
CREATE FUNCTION pg_temp.contents(schema name, relation name) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.value_of(format(
        'SELECT format(''%%s rows, %%s'', count(*), md5(coalesce(string_agg(md5(r::text), '''' ORDER BY md5(r::text)), ''''))) '
        'FROM ONLY %I.%I r', schema, relation))
$$;

-- Whatever the default privileges of whoever makes them.
GRANT EXECUTE ON FUNCTION pg_temp.is_mine(name), pg_temp.is_of_an_extension(regclass, oid), pg_temp.is_custom(oid),
    pg_temp.holder(oid, oid), pg_temp.value_of(text), pg_temp.contents(name, name) TO PUBLIC;
