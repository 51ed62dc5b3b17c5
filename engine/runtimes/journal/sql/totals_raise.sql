-- For what a partition itself counts: it only grows.
INSERT INTO totals (name, part, partition, value) @rows(name TEXT, part TEXT, partition BIGINT, value BIGINT)
ON CONFLICT (name, part, partition) DO UPDATE SET value = excluded.value WHERE totals.value < excluded.value
