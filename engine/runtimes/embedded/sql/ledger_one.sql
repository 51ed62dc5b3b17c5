SELECT body, status, attempts, reason, code, provider_id, updated_ms, links FROM ledger WHERE message = :message
