SELECT format('extension %I in schema %I', e.extname, n.nspname)
  FROM pg_extension e
  JOIN pg_namespace n ON n.oid = e.extnamespace
