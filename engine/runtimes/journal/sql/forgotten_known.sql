SELECT customer_hash, partition, log_offset, at_ms, alias FROM forgotten WHERE customer_hash IN @texts(hashes)
ORDER BY customer_hash, partition, log_offset
