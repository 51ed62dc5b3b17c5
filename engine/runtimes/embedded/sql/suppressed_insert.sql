INSERT OR IGNORE INTO suppressed_addresses (hash, channel, reason, at_ms) VALUES (?, ?, ?, ?)
