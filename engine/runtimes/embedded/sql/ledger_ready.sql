-- INDEXED BY: without it the planner may prefer to sort, and this has to cost what `limit` costs.
SELECT priority, number, message, customer, body, attempts, first_attempt_ms FROM ledger INDEXED BY ledger_ready
WHERE status = 'pending' AND scheduled = 0 AND channel = :channel AND bulk = :bulk
ORDER BY priority DESC, number LIMIT :limit
