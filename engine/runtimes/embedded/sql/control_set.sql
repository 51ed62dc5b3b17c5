INSERT INTO control (workflow, paused, at_ms, reason) VALUES (?, ?, ?, ?)
ON CONFLICT (workflow) DO UPDATE SET paused = excluded.paused, at_ms = excluded.at_ms, reason = excluded.reason
