SELECT format('%s %I.%I: %s holds %s%s, granted by %s',
              CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END,
              n.nspname, c.relname, pg_temp.holder(a.grantee, c.relowner), a.privilege_type,
              CASE WHEN a.is_grantable THEN ' with grant option' END, pg_temp.holder(a.grantor, c.relowner))
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL aclexplode(coalesce(c.relacl,
       acldefault(CASE WHEN c.relkind = 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) a
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
