SELECT format('role %I: %s', r.rolname, to_jsonb(r) - 'oid' - 'rolname' - 'rolpassword' - 'rolconfig')
  FROM pg_roles r
 WHERE pg_temp.is_custom(r.oid)
UNION ALL
SELECT format('role %I is a member of %I%s', pg_get_userbyid(m.member), pg_get_userbyid(m.roleid),
              CASE WHEN m.admin_option THEN ' and may admit others' END)
  FROM pg_auth_members m
 WHERE pg_temp.is_custom(m.member) OR pg_temp.is_custom(m.roleid)
UNION ALL
SELECT format('%s%s: %s', CASE WHEN s.setrole = 0 THEN 'every role' ELSE 'role ' || pg_get_userbyid(s.setrole) END,
              CASE WHEN s.setdatabase <> 0 THEN ' in this database' END, setting)
  FROM pg_db_role_setting s
 CROSS JOIN LATERAL unnest(s.setconfig) setting
 WHERE (s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
    OR (s.setdatabase = 0 AND pg_temp.is_custom(s.setrole))
