-- How far each partition of each topic is written, and the numbers that say in which order rows arrived (`serials`).

-- name: progress_all
SELECT topic, partition, next_offset FROM progress ORDER BY topic, partition

-- name: progress_add
INSERT INTO progress @rows(topic TEXT, partition BIGINT, next_offset BIGINT)
ON CONFLICT (topic, partition) DO NOTHING

-- name: progress_lock
-- All topics of a partition number at once, in one order: whoever writes about a customer holds this.
SELECT topic, partition, next_offset FROM progress WHERE partition IN @numbers(partitions) ORDER BY partition, topic
@for_update

-- name: progress_set
INSERT INTO progress @rows(topic TEXT, partition BIGINT, next_offset BIGINT)
ON CONFLICT (topic, partition) DO UPDATE SET @excluded(next_offset)

-- name: serial_take
UPDATE serials SET value = value + :count WHERE name = :name RETURNING value
