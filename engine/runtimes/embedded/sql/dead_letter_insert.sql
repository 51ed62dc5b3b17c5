INSERT INTO dead_letters (at_ms, origin, reason, customer, body) VALUES (?, ?, ?, ?, ?)
