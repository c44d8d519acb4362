SELECT format('table %I.%I: row-level security %s%s', n.nspname, c.relname,
              CASE WHEN c.relrowsecurity THEN 'on' ELSE 'off' END,
              CASE WHEN c.relforcerowsecurity THEN ', forced' END)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
