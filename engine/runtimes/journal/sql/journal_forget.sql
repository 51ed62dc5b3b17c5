DELETE FROM journal WHERE customer = :customer AND partition = :partition AND log_offset <= :log_offset RETURNING kind, workflow, at_ms, detail
