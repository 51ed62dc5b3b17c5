SELECT max(log_offset) FROM journal WHERE partition = :partition
