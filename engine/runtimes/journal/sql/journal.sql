-- The decisions.

-- columns: line
seq, at_ms, customer, kind, workflow, version, enrollment, step, detail, why

-- name: journal_insert
INSERT INTO journal @rows(
    seq BIGINT, partition BIGINT, log_offset BIGINT, line BIGINT, at_ms BIGINT, customer TEXT, kind TEXT, workflow TEXT,
    version TEXT, enrollment TEXT, step TEXT, message TEXT, detail TEXT, why TEXT
)

-- name: journal_last
SELECT max(log_offset) FROM journal WHERE partition = :partition

-- name: journal_known
SELECT log_offset, line FROM journal WHERE partition = :partition AND log_offset IN @numbers(offsets)

-- name: journal_forget
DELETE FROM journal WHERE customer = :customer AND partition = :partition AND log_offset <= :log_offset
RETURNING kind, workflow, at_ms, detail

-- name: journal_prune
-- Looks at the oldest rows only: that is where what is too old lies. Tasks are kept.
DELETE FROM journal WHERE seq IN (
    SELECT seq FROM (
        SELECT seq, at_ms FROM journal WHERE kind NOT IN ('task', 'task_assigned', 'task_done') ORDER BY seq LIMIT :limit
    ) AS oldest WHERE at_ms < :before_ms
) RETURNING seq
