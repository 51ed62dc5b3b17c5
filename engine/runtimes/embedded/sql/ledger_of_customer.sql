SELECT body, status, attempts, reason, code, provider_id, updated_ms, links FROM ledger WHERE customer = :customer AND (:status = '' OR status = :status) ORDER BY number DESC LIMIT :limit
