SELECT number, at_ms, origin, reason, customer, body FROM dead_letters ORDER BY number LIMIT :limit
