SELECT body, status, attempts, reason, code, provider_id, updated_ms FROM messages ORDER BY number DESC LIMIT :limit
