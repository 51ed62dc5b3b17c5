SELECT alias, at_ms, rows_removed FROM forgotten
WHERE customer_hash = :customer_hash AND partition = :partition AND log_offset >= :since_offset
ORDER BY log_offset DESC LIMIT 1
