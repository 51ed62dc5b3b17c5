-- Totals, and what each workflow did by stretches of five minutes (`pace`): kept as things happen, so that nobody has to count
-- rows.

-- name: counters_add
INSERT INTO counters @rows(name, part, value)
ON CONFLICT (name, part) DO UPDATE SET value = value + excluded.value

-- name: counters_all
SELECT name, part, value FROM counters

-- name: outbox_depth
SELECT coalesce(sum(value), 0) FROM counters WHERE name = 'message' AND (part LIKE '%:pending' OR part LIKE '%:claimed')

-- name: pace_add
INSERT INTO pace @rows(bucket_ms, workflow, queued, bounced, complained)
ON CONFLICT (bucket_ms, workflow) DO UPDATE SET
    queued = queued + excluded.queued, bounced = bounced + excluded.bounced, complained = complained + excluded.complained

-- name: pace_prune
DELETE FROM pace WHERE bucket_ms < :before_ms
