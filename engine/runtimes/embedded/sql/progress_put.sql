INSERT INTO progress (name, value, note) VALUES (:name, :value, :note)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, note = excluded.note
