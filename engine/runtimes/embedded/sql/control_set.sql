INSERT INTO control (workflow, paused, at_ms) VALUES (?, ?, ?) ON CONFLICT (workflow) DO UPDATE SET paused = excluded.paused, at_ms = excluded.at_ms
