INSERT INTO counters (name, part, value) VALUES (?, ?, ?) ON CONFLICT (name, part) DO UPDATE SET value = value + excluded.value
