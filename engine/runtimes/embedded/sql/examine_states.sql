SELECT customer, customer, state FROM states ORDER BY number
