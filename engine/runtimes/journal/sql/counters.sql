-- Totals, and what each workflow did by stretches of five minutes (`pace`): by partition, so that sinks do not wait for each
-- other. And which workflows are paused (`control`).

-- name: counters_add
INSERT INTO counters @rows(name TEXT, part TEXT, partition BIGINT, value BIGINT)
ON CONFLICT (name, part, partition) DO UPDATE SET value = counters.value + excluded.value

-- name: counters_raise
-- For what a partition itself counts: it only grows.
INSERT INTO counters @rows(name TEXT, part TEXT, partition BIGINT, value BIGINT)
ON CONFLICT (name, part, partition) DO UPDATE SET value = excluded.value WHERE counters.value < excluded.value

-- name: counters_all
SELECT name, part, CAST(sum(value) AS BIGINT) FROM counters GROUP BY name, part

-- name: pace_add
INSERT INTO pace @rows(
    bucket_ms BIGINT, workflow TEXT, partition BIGINT, queued BIGINT, sent BIGINT, bounced BIGINT, complained BIGINT
) ON CONFLICT (bucket_ms, workflow, partition) DO UPDATE SET
    queued = pace.queued + excluded.queued, sent = pace.sent + excluded.sent, bounced = pace.bounced + excluded.bounced,
    complained = pace.complained + excluded.complained

-- name: pace_prune
DELETE FROM pace WHERE bucket_ms < :before_ms

-- name: control_put
INSERT INTO control @rows(workflow TEXT, paused BIGINT, at_ms BIGINT, reason TEXT)
ON CONFLICT (workflow) DO UPDATE SET @excluded(paused, at_ms, reason)
WHERE control.at_ms <= excluded.at_ms
