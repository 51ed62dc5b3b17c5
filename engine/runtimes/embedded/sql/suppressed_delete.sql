DELETE FROM suppressed_addresses WHERE hash = ?
