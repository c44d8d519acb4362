SELECT format('view %I.%I shows %s rows to %s', n.nspname, c.relname,
              pg_temp.value_of(format('SELECT count(*) AS v FROM %I.%I', n.nspname, c.relname)), current_user)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'v' AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
   AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
