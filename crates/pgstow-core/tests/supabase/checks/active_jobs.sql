SELECT format('job %s (%s) is active', jobname, command) FROM cron.job WHERE active
