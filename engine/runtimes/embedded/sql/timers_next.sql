SELECT due_ms FROM timers ORDER BY due_ms LIMIT 1
