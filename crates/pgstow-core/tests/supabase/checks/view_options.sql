SELECT format('view %I.%I: options %s, definition %s', n.nspname, c.relname, c.reloptions, md5(pg_get_viewdef(c.oid)))
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'v' AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
