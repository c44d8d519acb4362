SELECT format('auth.%I: %s', c.relname, pg_temp.contents('auth', c.relname))
  FROM pg_class c
 WHERE c.relnamespace = to_regnamespace('auth') AND c.relkind = 'r'
   AND (c.relname IN ('flow_state', 'one_time_tokens', 'saml_relay_states', 'schema_migrations')
        OR c.relname LIKE '%\_challenges')
