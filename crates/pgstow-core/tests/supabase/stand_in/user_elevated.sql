-- What a customer makes as postgres through the gate that a module of the platform opens. Nothing
-- of the kind is on a stock server, so postgres is a superuser for a moment.

ALTER ROLE postgres SUPERUSER;
SET ROLE postgres;

CREATE FUNCTION app.note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM 1; END';
CREATE EVENT TRIGGER app_note_ddl ON ddl_command_start WHEN TAG IN ('DROP TABLE', 'ALTER TABLE')
    EXECUTE FUNCTION app.note_ddl();
COMMENT ON EVENT TRIGGER app_note_ddl IS 'who dropped it';
CREATE FUNCTION app.quiet() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM 1; END';
CREATE EVENT TRIGGER app_quiet ON sql_drop EXECUTE FUNCTION app.quiet();
ALTER EVENT TRIGGER app_quiet DISABLE;

CREATE PUBLICATION app_everything FOR ALL TABLES WITH (publish = 'truncate');
CREATE PUBLICATION app_schema FOR TABLES IN SCHEMA app;

CREATE POLICY "own files" ON storage.objects FOR SELECT TO authenticated
    USING (bucket_id = 'avatars' AND owner_id = auth.uid()::text AND public.is_member(auth.uid()));
CREATE POLICY "upload files" ON storage.objects FOR INSERT TO authenticated
    WITH CHECK (bucket_id = 'avatars' AND (storage.foldername(name))[1] = auth.uid()::text);
CREATE POLICY "see buckets" ON storage.buckets FOR SELECT TO anon USING (public);
CREATE POLICY "hear messages" ON realtime.messages FOR SELECT TO authenticated
    USING (realtime.topic() = 'room' AND public.is_member(auth.uid()));
CREATE POLICY "own account" ON auth.users FOR SELECT TO authenticated USING (id = auth.uid());

RESET ROLE;
ALTER ROLE postgres NOSUPERUSER;

-- The dashboard's table editor once made tables as supabase_admin.
CREATE TABLE public.legacy (id integer PRIMARY KEY, word text);
ALTER TABLE public.legacy DISABLE ROW LEVEL SECURITY;
INSERT INTO public.legacy VALUES (1, 'old');
GRANT SELECT ON public.legacy TO anon;
GRANT ALL ON public.legacy TO postgres;
