SELECT format('foreign key %I of %s: %s, %s, %s orphans', k.conname, k.conrelid::regclass, pg_get_constraintdef(k.oid),
              CASE WHEN k.convalidated THEN 'valid' ELSE 'not valid' END,
              pg_temp.value_of(format('SELECT count(*) AS v FROM %s child WHERE %s AND NOT EXISTS (SELECT FROM %s parent WHERE %s)',
                               k.conrelid::regclass, pairs.known, k.confrelid::regclass, pairs.joined)))
  FROM pg_constraint k
  JOIN pg_namespace n ON n.oid = k.connamespace
 CROSS JOIN LATERAL (
       SELECT string_agg(format('child.%I IS NOT NULL', one.attname), ' AND ') AS known,
              string_agg(format('child.%I = parent.%I', one.attname, other.attname), ' AND ') AS joined
         FROM unnest(k.conkey, k.confkey) AS pair (here, there)
         JOIN pg_attribute one ON one.attrelid = k.conrelid AND one.attnum = pair.here
         JOIN pg_attribute other ON other.attrelid = k.confrelid AND other.attnum = pair.there) pairs
 WHERE k.contype = 'f' AND pg_temp.is_mine(n.nspname)
