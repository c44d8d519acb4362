-- Since 2025: postgres is no member of the roles that own auth and storage, and has no privilege
-- on the tables of their levels.

REVOKE ALL ON storage.migrations FROM anon, authenticated, service_role, postgres;
