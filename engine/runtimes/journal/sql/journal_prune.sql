-- Looks at the oldest rows only: that is where what is too old lies. Tasks are kept.
DELETE FROM journal WHERE seq IN (
    SELECT seq FROM (SELECT seq, at_ms FROM journal WHERE kind NOT IN ('task', 'task_assigned', 'task_done') ORDER BY seq LIMIT :limit) AS oldest WHERE at_ms < :before_ms
) RETURNING seq
