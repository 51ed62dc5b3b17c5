INSERT OR IGNORE INTO set_aside (kind, key, customer, reason, at_ms) VALUES (:kind, :key, :customer, :reason, :at_ms)
