-- Looks at the oldest rows only; a row with an old time between newer ones goes when its turn comes.
DELETE FROM log WHERE seq IN (
    SELECT seq FROM (SELECT seq, at_ms FROM log ORDER BY seq LIMIT :limit)
    WHERE at_ms < :before_ms AND seq <= :applied
)
