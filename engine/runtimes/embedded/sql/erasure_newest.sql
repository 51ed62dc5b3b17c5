SELECT requested_ms, finished_ms, rows_removed FROM erasures WHERE customer_hash = :customer_hash ORDER BY number DESC LIMIT 1
