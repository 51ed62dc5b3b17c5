INSERT INTO progress (topic, partition, next_offset) @rows(topic TEXT, partition BIGINT, next_offset BIGINT)
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset
