SELECT format('event trigger %I on %s when %s calls %s: %s', e.evtname, e.evtevent, e.evttags, e.evtfoid::regprocedure,
              e.evtenabled)
  FROM pg_event_trigger e
 WHERE pg_get_userbyid(e.evtowner) <> 'supabase_admin' AND NOT pg_temp.is_of_an_extension('pg_event_trigger', e.oid)
