SELECT format('sequence %I.%I stands at %s, %s', n.nspname, c.relname,
              pg_temp.value_of(format('SELECT format(''%%s, called: %%s'', last_value, is_called) AS v FROM %I.%I', n.nspname, c.relname)),
              to_jsonb(s) - 'seqrelid' - 'seqtypid')
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_sequence s ON s.seqrelid = c.oid
 WHERE pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
