INSERT INTO control (workflow, paused, at_ms, reason) @rows(workflow TEXT, paused BIGINT, at_ms BIGINT, reason TEXT)
ON CONFLICT (workflow) DO UPDATE SET paused = excluded.paused, at_ms = excluded.at_ms, reason = excluded.reason
WHERE control.at_ms <= excluded.at_ms
