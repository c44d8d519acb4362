SELECT format('comment on %s %s: %s', i.type, i.identity, d.description)
  FROM pg_description d
 CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) i
  LEFT JOIN pg_namespace n ON n.nspname = coalesce(i.schema, CASE WHEN i.type = 'schema' THEN i.name END)
 WHERE (d.objoid >= 16384 OR d.classoid = 'pg_largeobject'::regclass) AND i.type <> 'extension' AND (n.oid IS NULL OR pg_temp.is_mine(n.nspname))
   AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = d.classoid AND x.objid = d.objoid AND x.deptype = 'e')
UNION ALL
SELECT format('column %I.%I.%I: %s', n.nspname, c.relname, k.attname,
              jsonb_build_object('type', format_type(k.atttypid, k.atttypmod), 'not null', k.attnotnull,
                                 'collation', k.attcollation::regcollation, 'identity', k.attidentity,
                                 'generated', k.attgenerated, 'storage', k.attstorage, 'compression', k.attcompression,
                                 'target', coalesce(k.attstattarget, -1), 'options', k.attoptions,
                                 'default', pg_get_expr(f.adbin, f.adrelid)))
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum > 0 AND NOT k.attisdropped
  LEFT JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = k.attnum
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
UNION ALL
SELECT format('relation %I.%I: kind %s, persistence %s, replica identity %s%s, options %s, partition %s', n.nspname,
              c.relname, c.relkind, c.relpersistence, c.relreplident,
              (SELECT format(' (%s)', x.indexrelid::regclass) FROM pg_index x WHERE x.indrelid = c.oid AND x.indisreplident),
              c.reloptions, pg_get_expr(c.relpartbound, c.oid))
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm', 'f') AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
UNION ALL
SELECT format('index %s', pg_get_indexdef(c.oid))
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('i', 'I') AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
UNION ALL
SELECT format('constraint %I of %s%s: %s', k.conname, k.conrelid::regclass, k.contypid::regtype, pg_get_constraintdef(k.oid))
  FROM pg_constraint k
  JOIN pg_namespace n ON n.oid = k.connamespace
 WHERE k.contype <> 'f' AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_constraint', k.oid)
UNION ALL
SELECT format('statistics: %s, target %s', pg_get_statisticsobjdef(s.oid), coalesce(s.stxstattarget, -1))
  FROM pg_statistic_ext s
  JOIN pg_namespace n ON n.oid = s.stxnamespace
 WHERE pg_temp.is_mine(n.nspname)
UNION ALL
SELECT format('collation %I.%I: provider %s, locale %s', n.nspname, l.collname, l.collprovider,
              coalesce(to_jsonb(l) ->> 'colliculocale', to_jsonb(l) ->> 'colllocale'))
  FROM pg_collation l
  JOIN pg_namespace n ON n.oid = l.collnamespace
 WHERE pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_collation', l.oid)
UNION ALL
SELECT format('type %I.%I: kind %s, of %s, labels %s', n.nspname, t.typname, t.typtype,
              format_type(t.typbasetype, t.typtypmod),
              (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))
  FROM pg_type t
  JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE t.typtype IN ('e', 'd', 'r') AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_type', t.oid)
