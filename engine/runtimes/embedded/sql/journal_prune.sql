-- Looks at the oldest rows only, as log_prune does.
DELETE FROM journal WHERE seq IN (
    SELECT seq FROM (SELECT seq, at_ms FROM journal ORDER BY seq LIMIT :limit) WHERE at_ms < :before_ms
)
