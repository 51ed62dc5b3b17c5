SELECT workflow FROM control WHERE paused = 1
