INSERT OR IGNORE INTO timers (due_ms, customer) VALUES (?, ?)
