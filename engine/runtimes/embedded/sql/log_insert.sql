INSERT INTO log (seq, at_ms, customer, record) VALUES (?, ?, ?, ?)
