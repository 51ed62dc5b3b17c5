SELECT hash, channel, reason, at_ms FROM suppressed_addresses ORDER BY at_ms, hash
