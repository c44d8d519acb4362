SELECT format('column %I.%I.%I: %s holds %s%s, granted by %s', n.nspname, c.relname, k.attname,
              pg_temp.holder(a.grantee, c.relowner), a.privilege_type,
              CASE WHEN a.is_grantable THEN ' with grant option' END, pg_temp.holder(a.grantor, c.relowner))
  FROM pg_attribute k
  JOIN pg_class c ON c.oid = k.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL aclexplode(k.attacl) a
 WHERE NOT k.attisdropped AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
UNION ALL
SELECT format('function %I.%I(%s): %s holds %s%s, granted by %s', n.nspname, p.proname,
              pg_get_function_identity_arguments(p.oid), pg_temp.holder(a.grantee, p.proowner), a.privilege_type,
              CASE WHEN a.is_grantable THEN ' with grant option' END, pg_temp.holder(a.grantor, p.proowner))
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
 CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
 WHERE pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_proc', p.oid)
UNION ALL
SELECT format('function %I.%I(%s): %s may%s call it', n.nspname, p.proname,
              pg_get_function_identity_arguments(p.oid), r.rolname,
              CASE WHEN NOT has_function_privilege(r.oid, p.oid, 'EXECUTE') THEN ' not' END)
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
 CROSS JOIN pg_roles r
 WHERE r.rolname IN ('anon', 'authenticated', 'service_role') AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_proc', p.oid)
UNION ALL
SELECT format('type %I.%I: %s holds %s%s, granted by %s', n.nspname, t.typname,
              pg_temp.holder(a.grantee, t.typowner), a.privilege_type,
              CASE WHEN a.is_grantable THEN ' with grant option' END, pg_temp.holder(a.grantor, t.typowner))
  FROM pg_type t
  JOIN pg_namespace n ON n.oid = t.typnamespace
 CROSS JOIN LATERAL aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a
 WHERE t.typtype IN ('e', 'd', 'r') AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_type', t.oid)
UNION ALL
SELECT format('schema %I: %s holds %s%s, granted by %s', n.nspname, pg_temp.holder(a.grantee, n.nspowner),
              a.privilege_type, CASE WHEN a.is_grantable THEN ' with grant option' END,
              pg_temp.holder(a.grantor, n.nspowner))
  FROM pg_namespace n
 CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
 WHERE n.nspname <> 'public' AND pg_temp.is_mine(n.nspname)
