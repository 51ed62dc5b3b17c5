INSERT INTO forgotten (partition, log_offset, customer_hash, alias, at_ms, rows_removed)
VALUES (:partition, :log_offset, :customer_hash, :alias, :at_ms, :rows_removed)
ON CONFLICT (customer_hash, partition, log_offset) DO UPDATE SET rows_removed = forgotten.rows_removed + excluded.rows_removed
