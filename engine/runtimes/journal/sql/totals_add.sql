INSERT INTO totals (name, part, partition, value) @rows(name TEXT, part TEXT, partition BIGINT, value BIGINT)
ON CONFLICT (name, part, partition) DO UPDATE SET value = totals.value + excluded.value
