SELECT number, customer, log_seq, scanned_seq FROM erasures INDEXED BY erasures_open WHERE finished_ms = 0 ORDER BY number LIMIT 1
