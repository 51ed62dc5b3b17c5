SELECT seq, at_ms, customer, kind, workflow, version, enrollment, step, detail, why, partition, log_offset, line FROM journal
WHERE kind = 'consent' AND seq > :after ORDER BY seq LIMIT :limit
