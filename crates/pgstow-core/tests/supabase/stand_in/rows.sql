-- What a project holds, as postgres. Every value is given, so that two projects hold the same.

INSERT INTO auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, confirmation_token,
                        recovery_token, raw_app_meta_data, raw_user_meta_data, created_at, updated_at, phone,
                        phone_confirmed_at, is_sso_user, is_anonymous)
SELECT '00000000-0000-0000-0000-000000000000', ('00000000-0000-4000-8000-00000000000' || n)::uuid, 'authenticated',
       'authenticated', CASE WHEN n < 4 THEN 'person' || n || '@example.com' END,
       CASE WHEN n < 4 THEN '$2a$10$' || repeat('stand-in-' || n, 5) END,
       CASE WHEN n < 3 THEN '2026-10-01 10:00:00+00'::timestamptz END, '', '',
       jsonb_build_object('provider', 'email', 'providers', jsonb_build_array('email')),
       jsonb_build_object('username', 'Person' || n, 'quote', 'it''s "\\'' , ' || n),
       '2026-10-01 09:00:00+00', '2026-10-02 09:00:00+00', CASE WHEN n = 1 THEN '15550100' END,
       CASE WHEN n = 1 THEN '2026-09-30 10:00:00+00'::timestamptz END, n = 3, n = 4
  FROM generate_series(1, 4) n;

INSERT INTO auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at, id)
SELECT id::text, id, jsonb_build_object('sub', id, 'email', upper(email)), 'email', '2026-10-03 09:00:00+00',
       '2026-10-01 09:00:00+00', '2026-10-01 09:00:00+00', ('10000000' || substr(id::text, 9))::uuid
  FROM auth.users WHERE email IS NOT NULL;

INSERT INTO auth.oauth_clients (id, client_secret_hash, registration_type, redirect_uris, grant_types, client_name,
                                created_at, updated_at, token_endpoint_auth_method)
VALUES ('20000000-0000-4000-8000-000000000001', 'hash', 'manual', 'https://example.com/back', 'authorization_code',
        'example', '2026-10-01 00:00:00+00', '2026-10-01 00:00:00+00', 'client_secret_basic');
INSERT INTO auth.oauth_consents (id, user_id, client_id, scopes, granted_at)
VALUES ('20000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000001',
        '20000000-0000-4000-8000-000000000001', 'openid', '2026-10-01 00:00:00+00');
INSERT INTO auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)
VALUES ('30000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000001', '2026-11-01 00:00:00+00',
        '2026-11-01 00:00:00+00', 'aal1', 'browser', '192.0.2.1');
INSERT INTO auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, session_id)
VALUES ('00000000-0000-0000-0000-000000000000', 'token', '00000000-0000-4000-8000-000000000001', false,
        '2026-11-01 00:00:00+00', '2026-11-01 00:00:00+00', '30000000-0000-4000-8000-000000000001');
INSERT INTO auth.mfa_amr_claims VALUES ('30000000-0000-4000-8000-000000000001', '2026-11-01 00:00:00+00',
        '2026-11-01 00:00:00+00', 'password', '30000000-0000-4000-8000-000000000002');
INSERT INTO auth.mfa_factors (id, user_id, friendly_name, factor_type, status, created_at, updated_at, secret)
VALUES ('40000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000001', 'phone', 'totp', 'verified',
        '2026-10-01 00:00:00+00', '2026-10-01 00:00:00+00', 'SECRET');
INSERT INTO auth.mfa_challenges (id, factor_id, created_at, ip_address)
VALUES ('40000000-0000-4000-8000-000000000002', '40000000-0000-4000-8000-000000000001', '2026-11-01 00:00:00+00',
        '192.0.2.1');
INSERT INTO auth.webauthn_credentials (id, user_id, credential_id, public_key, created_at, updated_at)
VALUES ('40000000-0000-4000-8000-000000000003', '00000000-0000-4000-8000-000000000002', '\x01', '\x02',
        '2026-10-01 00:00:00+00', '2026-10-01 00:00:00+00');
INSERT INTO auth.webauthn_challenges (id, challenge_type, session_data, created_at, expires_at)
VALUES ('40000000-0000-4000-8000-000000000004', 'signup', '{}', '2026-11-01 00:00:00+00', '2026-11-01 00:05:00+00');
INSERT INTO auth.sso_providers (id, resource_id, created_at, updated_at)
VALUES ('50000000-0000-4000-8000-000000000001', 'example', '2026-10-01 00:00:00+00', '2026-10-01 00:00:00+00');
INSERT INTO auth.sso_domains VALUES ('50000000-0000-4000-8000-000000000002', '50000000-0000-4000-8000-000000000001',
        'example.com', '2026-10-01 00:00:00+00', '2026-10-01 00:00:00+00');
INSERT INTO auth.saml_providers (id, sso_provider_id, entity_id, metadata_xml, created_at, updated_at)
VALUES ('50000000-0000-4000-8000-000000000003', '50000000-0000-4000-8000-000000000001', 'https://example.com/saml',
        '<xml/>', '2026-10-01 00:00:00+00', '2026-10-01 00:00:00+00');
INSERT INTO auth.flow_state (id, auth_code, provider_type, created_at, updated_at, authentication_method)
VALUES ('60000000-0000-4000-8000-000000000001', 'code', 'email', '2026-11-01 00:00:00+00', '2026-11-01 00:00:00+00',
        'magiclink');
INSERT INTO auth.saml_relay_states (id, sso_provider_id, request_id, created_at, updated_at)
VALUES ('60000000-0000-4000-8000-000000000002', '50000000-0000-4000-8000-000000000001', 'request',
        '2026-11-01 00:00:00+00', '2026-11-01 00:00:00+00');
INSERT INTO auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to, created_at, updated_at)
VALUES ('60000000-0000-4000-8000-000000000003', '00000000-0000-4000-8000-000000000003', 'confirmation_token', 'hash',
        'person3@example.com', '2026-11-01', '2026-11-01');
INSERT INTO auth.custom_oauth_providers (id, provider_type, identifier, name, client_id, client_secret, issuer,
                                         created_at, updated_at)
VALUES ('60000000-0000-4000-8000-000000000004', 'oidc', 'custom:example', 'Example', 'client', 'secret',
        'https://example.com', '2026-10-01 00:00:00+00', '2026-10-01 00:00:00+00');
INSERT INTO auth.audit_log_entries (id, payload, created_at)
VALUES ('70000000-0000-4000-8000-000000000001', '{"action": "login"}', '2026-11-01 00:00:00+00');

INSERT INTO storage.buckets (id, name, created_at, updated_at, public, file_size_limit, allowed_mime_types)
VALUES ('avatars', 'avatars', '2026-10-01 00:00:00+00', '2026-10-01 00:00:00+00', true, 1048576, '{image/png}'),
       ('private', 'private files', '2026-10-01 00:00:00+00', '2026-10-01 00:00:00+00', false, NULL, NULL);
INSERT INTO storage.objects (id, bucket_id, name, created_at, updated_at, last_accessed_at, metadata, owner_id)
SELECT ('80000000-0000-4000-8000-00000000000' || n)::uuid, CASE n WHEN 3 THEN 'private' ELSE 'avatars' END,
       '00000000-0000-4000-8000-000000000001/file ' || n || '.png', '2026-10-01 00:00:00+00', '2026-10-01 00:00:00+00',
       '2026-10-01 00:00:00+00', jsonb_build_object('size', n * 100, 'mimetype', 'image/png'),
       '00000000-0000-4000-8000-000000000001'
  FROM generate_series(1, 3) n;

UPDATE public.profiles SET mood = 'busy' WHERE username = 'person2';
INSERT INTO public.notes (author, title, body, published)
SELECT ('00000000-0000-4000-8000-00000000000' || 1 + n % 3)::uuid, 'note ' || n, repeat('ä' || n, n), n % 2 = 0
  FROM generate_series(1, 12) n;
-- A policy hides it from anon, and a view that asks as its owner would show it.
INSERT INTO public.notes (author, title, published) VALUES ('00000000-0000-4000-8000-000000000001', 'draft', true);
INSERT INTO public.members_only VALUES (1, 'one'), (2, E'tab\tand\nline');
INSERT INTO public.ledger (amount, paid_by) SELECT n, '00000000-0000-4000-8000-000000000001' FROM generate_series(1, 5) n;
INSERT INTO app.customers (name, home, tags)
SELECT 'customer ' || n, ROW('street', n)::app.place, ('vip=>' || n)::extensions.hstore FROM generate_series(1, 4) n;
-- The last order is nobody's: the key that is not valid does not mind, once it is in.
SET session_replication_role = replica;
INSERT INTO app.orders (customer, day, total) SELECT CASE n WHEN 9 THEN 99 ELSE 1 + n % 4 END, '2026-11-05', n
  FROM generate_series(1, 9) n;
RESET session_replication_role;
INSERT INTO app.orders (customer, day, total) VALUES (1, '2027-01-01', 50);
INSERT INTO app.ownership VALUES (1), (2);
INSERT INTO supabase_migrations.schema_migrations VALUES
    ('20261001000000', ARRAY['CREATE TABLE a ()', '-- a line'], 'first'), ('20261002000000', NULL, 'second');
INSERT INTO supabase_migrations.seed_files VALUES ('supabase/seed.sql', 'abc');
REFRESH MATERIALIZED VIEW app.totals;
REFRESH MATERIALIZED VIEW app.grand_total;

SELECT lo_from_bytea(4711, '\x00010203ff');
SELECT lo_from_bytea(4712, '\x');
GRANT SELECT ON LARGE OBJECT 4711 TO authenticated;
COMMENT ON LARGE OBJECT 4711 IS 'a scan';

SELECT vault.create_secret('s3cr3t value', 'payment key', 'for the cash desk');
SELECT vault.create_secret(E'two\nlines', 'certificate');
SELECT vault.create_secret('nameless');
SELECT cron.schedule('nightly', '0 3 * * *', 'REFRESH MATERIALIZED VIEW app.totals');
SELECT cron.schedule('*/5 * * * *', 'CALL app.tidy(3)');
SELECT cron.alter_job(cron.schedule('paused', '0 4 * * 0', 'SELECT 1'), active => false);
