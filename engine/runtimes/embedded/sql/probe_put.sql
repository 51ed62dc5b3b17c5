-- As much as a record with its state and journal lines: a write that fits into a last corner of a full disk would prove nothing.
INSERT INTO progress (name, value, note) VALUES ('probe', 1, hex(zeroblob(16384)))
ON CONFLICT (name) DO UPDATE SET value = 1 - value, note = excluded.note
