-- Looks at the oldest messages only; what may still leave stays.
DELETE FROM ledger WHERE number IN (
    SELECT number FROM (SELECT number, updated_ms, status FROM ledger ORDER BY number LIMIT :limit)
    WHERE updated_ms < :before_ms AND status NOT IN ('pending', 'claimed')
)
