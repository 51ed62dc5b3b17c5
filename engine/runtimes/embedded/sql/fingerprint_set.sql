INSERT INTO progress (name, value, note) VALUES ('hash_key', 0, ?1) ON CONFLICT (name) DO UPDATE SET note = excluded.note
