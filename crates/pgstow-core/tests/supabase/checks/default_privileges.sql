SELECT format('what postgres makes in %s, kind %s: %s', coalesce(quote_ident(n.nspname), 'any schema'), d.defaclobjtype,
              coalesce((SELECT string_agg(format('%s holds %s%s', pg_temp.holder(a.grantee, d.defaclrole), a.privilege_type,
                                                 CASE WHEN a.is_grantable THEN ' with grant option' END), ', '
                                          ORDER BY a.grantee::regrole::text, a.privilege_type)
                          FROM aclexplode(d.defaclacl) a), 'nothing'))
  FROM pg_default_acl d
  LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
 WHERE d.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = 'postgres') AND (n.oid IS NULL OR pg_temp.is_mine(n.nspname))
