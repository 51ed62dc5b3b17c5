-- The log: every record in its order, and how far each counter has come (`progress`).

-- name: log_insert
INSERT INTO log @rows(seq, at_ms, customer, record)

-- name: log_after
SELECT seq, customer, record FROM log WHERE seq > :seq ORDER BY seq LIMIT :limit

-- name: log_span
SELECT coalesce(max(seq) - min(seq) + 1, 0) FROM log

-- name: log_of_customer
-- Newest first. Looks at the newest rows only: the log has no index by customer, and most questions are about lately.
SELECT at_ms, record FROM (SELECT seq, at_ms, customer, record FROM log ORDER BY seq DESC LIMIT :looked)
WHERE customer = :customer
LIMIT :limit

-- name: replay_of_customer
SELECT seq, record FROM log WHERE customer IN (:customer, '') AND seq < :until ORDER BY seq

-- name: log_prune
-- Looks at the oldest rows only; a row with an old time between newer ones goes when its turn comes.
DELETE FROM log WHERE seq IN (
    SELECT seq FROM (SELECT seq, at_ms FROM log ORDER BY seq LIMIT :limit)
    WHERE at_ms < :before_ms AND seq <= :applied
)

-- name: log_forget
DELETE FROM log WHERE seq > :after AND seq <= :until AND customer = :customer

-- name: log_give_up
DELETE FROM log WHERE seq = :key

-- name: examine_log
SELECT seq, customer, record FROM log ORDER BY seq

-- name: progress_all
SELECT name, value, note FROM progress

-- name: progress_advance
UPDATE progress SET value = CASE name WHEN 'log' THEN :log ELSE :applied END WHERE name IN ('applied', 'log')

-- name: progress_set
UPDATE progress SET value = :value, note = :note WHERE name = :name

-- name: progress_put
INSERT INTO progress (name, value, note) VALUES (:name, :value, :note)
ON CONFLICT (name) DO UPDATE SET @excluded(value, note)

-- name: progress_pruned
UPDATE progress SET value = coalesce((SELECT min(seq) FROM log) - 1, :applied) WHERE name = 'pruned'

-- name: probe_put
-- As much as a record with its state and journal lines: a write that fits into a last corner of a full disk would prove nothing.
INSERT INTO progress (name, value, note) VALUES ('probe', 1, hex(zeroblob(16384)))
ON CONFLICT (name) DO UPDATE SET value = 1 - value, note = excluded.note

-- name: fingerprint_load
SELECT note FROM progress WHERE name = 'hash_key'

-- name: fingerprint_set
INSERT INTO progress @rows(note, name = 'hash_key', value = 0) ON CONFLICT (name) DO UPDATE SET @excluded(note)
