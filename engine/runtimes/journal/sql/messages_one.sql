SELECT body, status, attempts, reason, code, provider_id, updated_ms FROM messages WHERE message = :message
