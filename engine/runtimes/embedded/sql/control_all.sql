SELECT workflow, paused, at_ms, reason FROM control ORDER BY workflow
