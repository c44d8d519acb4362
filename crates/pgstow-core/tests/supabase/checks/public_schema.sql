SELECT format('schema public belongs to %s', pg_get_userbyid(nspowner)) FROM pg_namespace WHERE nspname = 'public'
UNION ALL
SELECT format('schema public: %s holds %s%s, granted by %s', pg_temp.holder(a.grantee, n.nspowner), a.privilege_type,
              CASE WHEN a.is_grantable THEN ' with grant option' END, pg_temp.holder(a.grantor, n.nspowner))
  FROM pg_namespace n
 CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
 WHERE n.nspname = 'public'
UNION ALL
SELECT format('%s may use schema public', r.rolname)
  FROM pg_roles r
 WHERE r.rolname IN ('anon', 'authenticated', 'service_role', 'postgres')
   AND has_schema_privilege(r.oid, 'public', 'USAGE')
