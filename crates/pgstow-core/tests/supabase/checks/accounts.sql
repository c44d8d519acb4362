SELECT format('account %s: password %s, user metadata %s, application metadata %s, all of it %s', u.id,
              u.encrypted_password, u.raw_user_meta_data, u.raw_app_meta_data, md5(to_jsonb(u)::text))
  FROM auth.users u
UNION ALL
SELECT format('identity %s of account %s: %s', i.id, i.user_id, md5(to_jsonb(i)::text)) FROM auth.identities i
UNION ALL
SELECT format('auth.%I: %s', c.relname, pg_temp.contents('auth', c.relname))
  FROM pg_class c
 WHERE c.relnamespace = to_regnamespace('auth')
   AND c.relname IN ('mfa_factors', 'webauthn_credentials', 'sso_providers', 'sso_domains', 'saml_providers',
                     'oauth_clients', 'oauth_consents', 'custom_oauth_providers')
