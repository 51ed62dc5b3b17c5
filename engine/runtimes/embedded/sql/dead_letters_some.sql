SELECT number, origin, body FROM dead_letters WHERE number IN (SELECT value FROM json_each(?)) ORDER BY number
