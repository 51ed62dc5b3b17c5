UPDATE ledger SET scheduled = 0 WHERE number IN (SELECT number FROM ledger WHERE status = 'pending' AND scheduled = 1 AND not_before_ms <= :now_ms ORDER BY not_before_ms LIMIT :limit)
