SELECT format('schema %I belongs to %s', n.nspname, pg_get_userbyid(n.nspowner)) FROM pg_namespace n WHERE pg_temp.is_mine(n.nspname)
UNION ALL
SELECT format('relation %I.%I belongs to %s', n.nspname, c.relname, pg_get_userbyid(c.relowner))
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_class', c.oid)
UNION ALL
SELECT format('function %s belongs to %s', p.oid::regprocedure, pg_get_userbyid(p.proowner))
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_proc', p.oid)
UNION ALL
SELECT format('type %I.%I belongs to %s', n.nspname, t.typname, pg_get_userbyid(t.typowner))
  FROM pg_type t
  JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE t.typtype IN ('e', 'd', 'r') AND pg_temp.is_mine(n.nspname) AND NOT pg_temp.is_of_an_extension('pg_type', t.oid)
UNION ALL
SELECT format('large object %s belongs to %s', l.oid, pg_get_userbyid(l.lomowner)) FROM pg_largeobject_metadata l
UNION ALL
SELECT format('event trigger %I belongs to %s', e.evtname, pg_get_userbyid(e.evtowner))
  FROM pg_event_trigger e
 WHERE pg_get_userbyid(e.evtowner) <> 'supabase_admin' AND NOT pg_temp.is_of_an_extension('pg_event_trigger', e.oid)
