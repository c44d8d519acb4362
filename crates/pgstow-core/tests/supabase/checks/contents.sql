SELECT format('materialized view %I.%I: %s', n.nspname, c.relname,
              CASE WHEN c.relispopulated
                   THEN pg_temp.contents(n.nspname, c.relname)
                   ELSE 'not populated' END)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'm' AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
UNION ALL
SELECT format('large object %s: %s', l.oid, md5(lo_get(l.oid))) FROM pg_largeobject_metadata l
UNION ALL
SELECT format('large object %s: %s holds %s%s, granted by %s', l.oid, pg_temp.holder(a.grantee, l.lomowner),
              a.privilege_type, CASE WHEN a.is_grantable THEN ' with grant option' END,
              pg_temp.holder(a.grantor, l.lomowner))
  FROM pg_largeobject_metadata l
 CROSS JOIN LATERAL aclexplode(coalesce(l.lomacl, acldefault('L', l.lomowner))) a
