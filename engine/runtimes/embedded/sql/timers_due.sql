SELECT due_ms, customer FROM timers WHERE due_ms <= :now_ms ORDER BY due_ms LIMIT :limit
