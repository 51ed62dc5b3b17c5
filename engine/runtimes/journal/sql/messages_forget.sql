DELETE FROM messages WHERE customer = :customer AND partition = :partition AND log_offset <= :log_offset RETURNING channel, status, workflow, updated_ms
