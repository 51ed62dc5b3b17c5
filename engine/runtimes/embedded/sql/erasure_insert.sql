INSERT INTO erasures (customer_hash, customer, requested_ms, log_seq, scanned_seq, rows_removed) VALUES (:customer_hash, :customer, :requested_ms, :log_seq, 0, :rows_removed)
