DELETE FROM customers WHERE customer = :customer AND partition = :partition AND position <= :log_offset RETURNING due_ms
