DELETE FROM dead_letters WHERE customer = :customer AND customer <> '' AND (
    (log_partition = :partition AND log_offset <= :log_offset) OR (log_partition <> :partition AND at_ms <= :at_ms)
) RETURNING number
