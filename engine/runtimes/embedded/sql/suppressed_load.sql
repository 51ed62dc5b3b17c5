SELECT reason FROM suppressed_addresses WHERE hash = ?
