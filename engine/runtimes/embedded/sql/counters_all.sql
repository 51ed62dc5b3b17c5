SELECT name, part, value FROM counters
