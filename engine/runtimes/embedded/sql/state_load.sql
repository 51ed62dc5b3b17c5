SELECT customer, number, due_ms, state FROM states WHERE customer = ?
