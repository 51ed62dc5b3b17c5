INSERT OR IGNORE INTO ledger (message, customer, channel, lane, priority, status, scheduled, not_before_ms, updated_ms, address, body, workflow) VALUES (?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?)
