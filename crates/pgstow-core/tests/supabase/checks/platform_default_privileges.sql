SELECT format('what %s makes in %s, kind %s: %s', pg_get_userbyid(d.defaclrole),
              coalesce(quote_ident(n.nspname), 'any schema'), d.defaclobjtype, d.defaclacl)
  FROM pg_default_acl d
  LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
 WHERE pg_get_userbyid(d.defaclrole) <> 'postgres'
