-- Looks at the oldest rows only, as log_prune does. Tasks are kept: they are read out of the journal.
DELETE FROM journal WHERE seq IN (
    SELECT seq FROM (SELECT seq, at_ms FROM journal WHERE kind NOT IN ('task', 'task_assigned', 'task_done') ORDER BY seq LIMIT :limit) WHERE at_ms < :before_ms
)
