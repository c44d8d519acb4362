SELECT format('job %s of %s at %s: %s', jobname, username, schedule, command) FROM cron.job
