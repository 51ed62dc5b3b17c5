-- Receipts of erasures, and the key that their hashes are made with (`secrets`).

-- name: erasures_any
SELECT count(*) FROM (SELECT 1 FROM erasures LIMIT 1) AS one

-- name: erasures_known
SELECT customer_hash, partition, log_offset, at_ms, alias FROM erasures WHERE customer_hash IN @texts(hashes)
ORDER BY customer_hash, partition, log_offset

-- name: erasures_newest
SELECT alias, at_ms, rows_removed FROM erasures
WHERE customer_hash = :customer_hash AND partition = :partition AND log_offset >= :since_offset
ORDER BY log_offset DESC LIMIT 1

-- name: erasures_insert
INSERT INTO erasures (partition, log_offset, customer_hash, alias, at_ms, rows_removed)
VALUES (:partition, :log_offset, :customer_hash, :alias, :at_ms, :rows_removed)
ON CONFLICT (customer_hash, partition, log_offset) DO UPDATE SET rows_removed = erasures.rows_removed + excluded.rows_removed

-- name: secret_add
INSERT INTO secrets (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING

-- name: secret_read
SELECT value FROM secrets WHERE name = :name
