-- The decisions.

-- columns: line
seq, decision

-- name: journal_insert
INSERT INTO journal @rows(log_seq, at_ms, customer, workflow, kind, enrollment, message, decision)

-- name: journal_of_customer
SELECT decision FROM journal WHERE customer = :customer AND log_seq < :until ORDER BY seq

-- name: journal_prune
-- Looks at the oldest rows only, as log_prune does. Tasks are kept: they are read out of the journal.
DELETE FROM journal WHERE seq IN (
    SELECT seq FROM (
        SELECT seq, at_ms FROM journal WHERE kind NOT IN ('task', 'task_assigned', 'task_done') ORDER BY seq LIMIT :limit
    ) WHERE at_ms < :before_ms
)

-- name: journal_forget
DELETE FROM journal WHERE customer = :customer AND log_seq < :log_seq

-- name: journal_give_up
DELETE FROM journal WHERE seq = :key

-- name: examine_journal
SELECT seq, customer, decision FROM journal ORDER BY seq
