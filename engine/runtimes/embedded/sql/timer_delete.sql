DELETE FROM timers WHERE due_ms = ? AND customer = ?
