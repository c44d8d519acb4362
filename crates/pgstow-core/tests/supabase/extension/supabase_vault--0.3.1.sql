\echo Use "CREATE EXTENSION supabase_vault" to load this file. \quit

-- The key is a property of the cluster and not of the database: a ciphertext that is copied
-- elsewhere cannot be read there.
CREATE FUNCTION vault.root_key() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT pg_catalog.md5(system_identifier::text) FROM pg_catalog.pg_control_system() $$;
REVOKE EXECUTE ON FUNCTION vault.root_key() FROM PUBLIC;

CREATE FUNCTION vault._crypto_aead_det_encrypt(message text) RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$ SELECT pg_catalog.encode(extensions.pgp_sym_encrypt(message, vault.root_key()), 'base64') $$;
REVOKE EXECUTE ON FUNCTION vault._crypto_aead_det_encrypt(text) FROM PUBLIC;

CREATE FUNCTION vault._crypto_aead_det_decrypt(message text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT extensions.pgp_sym_decrypt(pg_catalog.decode(message, 'base64'), vault.root_key()) $$;
REVOKE EXECUTE ON FUNCTION vault._crypto_aead_det_decrypt(text) FROM PUBLIC;

CREATE TABLE vault.secrets (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    name text,
    description text NOT NULL DEFAULT '',
    secret text NOT NULL,
    key_id uuid,
    nonce bytea DEFAULT decode('00112233445566778899aabbccddeeff', 'hex'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX secrets_name_idx ON vault.secrets (name) WHERE name IS NOT NULL;

CREATE VIEW vault.decrypted_secrets AS
SELECT id, name, description, secret, vault._crypto_aead_det_decrypt(secret) AS decrypted_secret,
       key_id, nonce, created_at, updated_at
  FROM vault.secrets;

CREATE FUNCTION vault.create_secret(
    new_secret text, new_name text DEFAULT NULL, new_description text DEFAULT '', new_key_id uuid DEFAULT NULL
) RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
    INSERT INTO vault.secrets (secret, name, description)
    VALUES (vault._crypto_aead_det_encrypt(new_secret), new_name, new_description)
    RETURNING id
$$;
REVOKE EXECUTE ON FUNCTION vault.create_secret(text, text, text, uuid) FROM PUBLIC;

CREATE FUNCTION vault.update_secret(
    secret_id uuid, new_secret text DEFAULT NULL, new_name text DEFAULT NULL, new_description text DEFAULT NULL,
    new_key_id uuid DEFAULT NULL
) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
    UPDATE vault.secrets
       SET secret = coalesce(vault._crypto_aead_det_encrypt(new_secret), secret),
           name = coalesce(new_name, name),
           description = coalesce(new_description, description),
           updated_at = now()
     WHERE id = secret_id
$$;
REVOKE EXECUTE ON FUNCTION vault.update_secret(uuid, text, text, text, uuid) FROM PUBLIC;

-- pg_dump writes the ciphertext, which is of no use anywhere else.
SELECT pg_catalog.pg_extension_config_dump('vault.secrets', '');
