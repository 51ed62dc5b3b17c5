SELECT body, status, attempts, reason, code, provider_id, updated_ms, links FROM messages
WHERE provider_id = :provider_id AND provider_id <> '' ORDER BY number DESC LIMIT 1
