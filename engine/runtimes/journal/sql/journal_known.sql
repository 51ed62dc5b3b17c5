SELECT log_offset, line FROM journal WHERE partition = :partition AND log_offset IN @numbers(offsets)
