SELECT workflow, since_ms FROM control WHERE paused = 1
