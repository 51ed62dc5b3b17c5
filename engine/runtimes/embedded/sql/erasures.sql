-- Receipts of erasures.

-- name: erasure_insert
INSERT INTO erasures (customer_hash, customer, requested_ms, log_seq, scanned_seq, rows_removed)
VALUES (:customer_hash, :customer, :requested_ms, :log_seq, 0, :rows_removed)

-- name: erasure_newest
SELECT requested_ms, finished_ms, rows_removed FROM erasures WHERE customer_hash = :customer_hash ORDER BY number DESC LIMIT 1

-- name: erasure_open
SELECT number, customer, log_seq, scanned_seq FROM erasures INDEXED BY erasures_open WHERE finished_ms = 0 ORDER BY number LIMIT 1

-- name: erasure_scanned
UPDATE erasures SET scanned_seq = :scanned_seq, rows_removed = rows_removed + :rows_removed WHERE number = :number

-- name: erasure_finish
UPDATE erasures SET finished_ms = :finished_ms, customer = '' WHERE number = :number
