SELECT body, status, attempts, reason, code, provider_id, updated_ms, links FROM messages WHERE message = :message
