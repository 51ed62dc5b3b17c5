SELECT customer, number, due_ms, state FROM states WHERE customer IN (SELECT value FROM json_each(?))
