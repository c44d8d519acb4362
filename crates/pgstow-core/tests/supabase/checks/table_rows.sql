SELECT format('table %I.%I: %s', n.nspname, c.relname,
              pg_temp.contents(n.nspname, c.relname))
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
