SELECT format('publication %I: %s', pubname, to_jsonb(p) - 'oid' - 'pubowner' - 'pubname') FROM pg_publication p
UNION ALL
SELECT format('publication %I of owner %s', pubname, pg_get_userbyid(pubowner)) FROM pg_publication
UNION ALL
SELECT format('publication %I has the table %I.%I, columns %s, rows %s', p.pubname, n.nspname, c.relname,
              (SELECT string_agg(quote_ident(k.attname), ', ' ORDER BY k.attnum)
                 FROM pg_attribute k WHERE k.attrelid = c.oid AND k.attnum = ANY (r.prattrs)),
              pg_get_expr(r.prqual, r.prrelid))
  FROM pg_publication_rel r
  JOIN pg_publication p ON p.oid = r.prpubid
  JOIN pg_class c ON c.oid = r.prrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
UNION ALL
SELECT format('publication %I has the schema %I', p.pubname, n.nspname)
  FROM pg_publication_namespace s
  JOIN pg_publication p ON p.oid = s.pnpubid
  JOIN pg_namespace n ON n.oid = s.pnnspid
UNION ALL
SELECT format('publication %I sends %I.%I, columns %s, rows %s', t.pubname, t.schemaname, t.tablename, t.attnames, t.rowfilter)
  FROM pg_publication_tables t
  JOIN pg_namespace n ON n.nspname = t.schemaname
 WHERE pg_temp.is_mine(n.nspname)
