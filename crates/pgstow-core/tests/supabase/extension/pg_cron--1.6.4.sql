\echo Use "CREATE EXTENSION pg_cron" to load this file. \quit

CREATE SCHEMA cron;

CREATE SEQUENCE cron.jobid_seq;
CREATE TABLE cron.job (
    jobid bigint PRIMARY KEY DEFAULT pg_catalog.nextval('cron.jobid_seq'),
    schedule text NOT NULL,
    command text NOT NULL,
    nodename text NOT NULL DEFAULT 'localhost',
    nodeport integer NOT NULL DEFAULT coalesce(pg_catalog.inet_server_port(), 5432),
    database text NOT NULL DEFAULT pg_catalog.current_database(),
    username text NOT NULL DEFAULT current_user,
    active boolean NOT NULL DEFAULT true,
    jobname text,
    CONSTRAINT jobname_username_uniq UNIQUE (jobname, username)
);
ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;
CREATE POLICY cron_job_policy ON cron.job USING (username = current_user);

CREATE SEQUENCE cron.runid_seq;
CREATE TABLE cron.job_run_details (
    jobid bigint,
    runid bigint PRIMARY KEY DEFAULT pg_catalog.nextval('cron.runid_seq'),
    job_pid integer,
    database text,
    username text,
    command text,
    status text,
    return_message text,
    start_time timestamptz,
    end_time timestamptz
);
ALTER TABLE cron.job_run_details ENABLE ROW LEVEL SECURITY;
CREATE POLICY cron_job_run_details_policy ON cron.job_run_details USING (username = current_user);

CREATE FUNCTION cron.schedule(job_name text, schedule text, command text) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
    INSERT INTO cron.job AS known (jobname, schedule, command, username)
    VALUES (job_name, schedule, command, session_user)
    ON CONFLICT ON CONSTRAINT jobname_username_uniq
    DO UPDATE SET schedule = excluded.schedule, command = excluded.command
    RETURNING known.jobid
$$;

CREATE FUNCTION cron.schedule(schedule text, command text) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
    INSERT INTO cron.job (schedule, command, username) VALUES (schedule, command, session_user) RETURNING jobid
$$;

CREATE FUNCTION cron.schedule_in_database(
    job_name text, schedule text, command text, database text, username text DEFAULT NULL, active boolean DEFAULT true
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
    made bigint;
BEGIN
    IF username IS NOT NULL AND username <> session_user THEN
        RAISE EXCEPTION 'must be superuser to create a job for another role' USING ERRCODE = '42501';
    END IF;
    INSERT INTO cron.job AS known (jobname, schedule, command, database, username, active)
    VALUES (job_name, schedule_in_database.schedule, schedule_in_database.command,
            schedule_in_database.database, session_user, schedule_in_database.active)
    ON CONFLICT ON CONSTRAINT jobname_username_uniq
    DO UPDATE SET schedule = excluded.schedule, command = excluded.command, active = excluded.active
    RETURNING known.jobid INTO made;
    RETURN made;
END $$;

CREATE FUNCTION cron.alter_job(
    job_id bigint, schedule text DEFAULT NULL, command text DEFAULT NULL, database text DEFAULT NULL,
    username text DEFAULT NULL, active boolean DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
BEGIN
    UPDATE cron.job known
       SET schedule = coalesce(alter_job.schedule, known.schedule),
           command = coalesce(alter_job.command, known.command),
           database = coalesce(alter_job.database, known.database),
           active = coalesce(alter_job.active, known.active)
     WHERE known.jobid = job_id AND known.username = session_user;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'job % does not exist or belongs to another role', job_id;
    END IF;
END $$;

CREATE FUNCTION cron.unschedule(job_id bigint) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
    WITH gone AS (DELETE FROM cron.job WHERE jobid = job_id AND username = session_user RETURNING 1)
    SELECT count(*) > 0 FROM gone
$$;

CREATE FUNCTION cron.unschedule(job_name text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
    WITH gone AS (DELETE FROM cron.job WHERE jobname = job_name AND username = session_user RETURNING 1)
    SELECT count(*) > 0 FROM gone
$$;

-- pg_dump writes these rows, which nobody but the owner can load.
SELECT pg_catalog.pg_extension_config_dump('cron.job', '');
SELECT pg_catalog.pg_extension_config_dump('cron.jobid_seq', '');
SELECT pg_catalog.pg_extension_config_dump('cron.job_run_details', '');
SELECT pg_catalog.pg_extension_config_dump('cron.runid_seq', '');
