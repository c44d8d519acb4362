SELECT format('%s [%s]', pg_get_triggerdef(t.oid), t.tgenabled)
  FROM pg_trigger t
  JOIN pg_proc p ON p.oid = t.tgfoid
  JOIN pg_class c ON c.oid = t.tgrelid
 WHERE NOT t.tgisinternal
   AND EXISTS (SELECT FROM pg_namespace n WHERE n.oid IN (p.pronamespace, c.relnamespace) AND pg_temp.is_mine(n.nspname))
