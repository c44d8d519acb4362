SELECT format('policy %I on %I.%I: %s for %s to %s using (%s) with check (%s)', policyname, schemaname, tablename,
              permissive, cmd, roles, qual, with_check)
  FROM pg_policies
 WHERE schemaname <> 'cron'
