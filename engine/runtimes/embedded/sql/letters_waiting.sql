-- Records that wait for their customer, oldest first.
SELECT number, CAST(substr(origin, 5) AS INTEGER), body FROM dead_letters
WHERE customer = :customer AND origin LIKE 'log:%' AND reason LIKE 'waits: %' ORDER BY number
