-- Looks at the oldest rows only: that is where what is too old lies.
DELETE FROM journal WHERE seq IN (
    SELECT seq FROM (SELECT seq, at_ms FROM journal ORDER BY seq LIMIT :limit) AS oldest WHERE at_ms < :before_ms
) RETURNING seq
