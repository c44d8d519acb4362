SELECT format('secret %s (%s): %s', name, description, decrypted_secret) FROM vault.decrypted_secrets
