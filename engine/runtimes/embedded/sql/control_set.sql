INSERT INTO control (workflow, paused, at_ms, reason, since_ms) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (workflow) DO UPDATE SET paused = excluded.paused, at_ms = excluded.at_ms, reason = excluded.reason, since_ms = excluded.since_ms
