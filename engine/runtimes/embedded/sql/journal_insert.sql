INSERT INTO journal (log_seq, at_ms, customer, workflow, kind, enrollment, message, decision) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
