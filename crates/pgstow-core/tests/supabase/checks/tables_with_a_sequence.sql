SELECT DISTINCT c.oid::regclass::text, d.refobjid::regclass::text
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum > 0 AND NOT k.attisdropped
  LEFT JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = k.attnum
 CROSS JOIN LATERAL (
       SELECT d.refobjid FROM pg_depend d
        WHERE d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
       UNION
       SELECT d.objid FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
          AND d.refobjsubid = k.attnum AND d.deptype = 'i') d
  JOIN pg_sequence s ON s.seqrelid = d.refobjid
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
 ORDER BY 1, 2
