SELECT customer_hash, partition, max(log_offset), max(at_ms) FROM forgotten WHERE customer_hash IN @texts(hashes)
GROUP BY customer_hash, partition
