SELECT customer, position, due_ms FROM customers WHERE customer IN @texts(customers)
