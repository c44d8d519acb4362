SELECT format('event trigger %I: %s, calls %s', e.evtname, e.evtenabled, e.evtfoid::regprocedure)
  FROM pg_event_trigger e
 WHERE e.evtname = 'ensure_rls'
