INSERT INTO states (customer, due_ms, state) VALUES (?, ?, ?)
