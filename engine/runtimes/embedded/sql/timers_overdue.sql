SELECT count(*) FROM timers WHERE due_ms <= :now_ms
