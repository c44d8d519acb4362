-- What a user makes in such a database. Run by its superuser, who may do everything.

CREATE TABLE public.profiles (id uuid PRIMARY KEY REFERENCES auth.users, name text);
INSERT INTO public.profiles SELECT id, email FROM auth.users;
CREATE SEQUENCE public.counter START 42;
CREATE FUNCTION public.handle_user() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER on_user AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION public.handle_user();
CREATE POLICY "own files" ON storage.objects FOR SELECT TO authenticated USING (bucket_id = 'avatars');
CREATE POLICY "own topic" ON realtime.messages AS RESTRICTIVE FOR SELECT TO authenticated, postgres
    USING (topic = realtime.topic());
CREATE POLICY anybody ON realtime.messages WITH CHECK (topic <> 'it''s');
CREATE FUNCTION public.on_change() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION public.on_change();
-- A module of the platform lets its users make event triggers; here they are superusers for a moment.
ALTER ROLE postgres SUPERUSER;
ALTER EVENT TRIGGER mine OWNER TO postgres;
ALTER ROLE postgres NOSUPERUSER;
ALTER PUBLICATION supabase_realtime ADD TABLE public.profiles;
ALTER TABLE public.profiles OWNER TO postgres;
ALTER SEQUENCE public.counter OWNER TO postgres;
