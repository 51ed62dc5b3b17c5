DELETE FROM dead_letters WHERE number IN (
    SELECT number FROM (SELECT number, at_ms FROM dead_letters ORDER BY number LIMIT :limit) AS oldest WHERE at_ms < :before_ms
) RETURNING number
