SELECT priority, number, message, customer, body, attempts, first_attempt_ms FROM ledger INDEXED BY ledger_ready
WHERE status = 'pending' AND scheduled = 0 AND channel = :channel AND bulk = :bulk
    AND lane NOT IN (SELECT value FROM json_each(:lanes))
    AND (:all OR workflow IN (SELECT value FROM json_each(:released)))
ORDER BY priority DESC, number LIMIT :limit
