SELECT reason, at_ms FROM suppressed_addresses WHERE hash = ?
