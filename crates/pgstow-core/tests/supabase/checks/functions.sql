SELECT format('function %s: body %s, settings %s, security %s, all of it %s', p.oid::regprocedure, md5(p.prosrc),
              p.proconfig, CASE WHEN p.prosecdef THEN 'definer' ELSE 'invoker' END,
              CASE WHEN p.prokind <> 'a' THEN md5(pg_get_functiondef(p.oid)) END)
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_proc', p.oid)
